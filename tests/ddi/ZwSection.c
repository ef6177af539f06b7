/*
 * Sections backed by memory, and files on drive C:. SPDX-License-Identifier: MIT
 */
#include <stdarg.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>
#include <ntifs.h>
#include "ntmm.h"

static char Folder[] = "/tmp/ntmm-drive-XXXXXX";

static HANDLE CreateNamed(PCWSTR Text, LONGLONG Bytes, NTSTATUS *Status)
{
    OBJECT_ATTRIBUTES Attributes;
    LARGE_INTEGER Size = {.QuadPart = Bytes};
    UNICODE_STRING Name;
    HANDLE Section = NULL;

    RtlInitUnicodeString(&Name, Text);
    InitializeObjectAttributes(&Attributes, &Name, OBJ_KERNEL_HANDLE, NULL, NULL);
    *Status = ZwCreateSection(&Section, SECTION_ALL_ACCESS, &Attributes, &Size, PAGE_READWRITE, SEC_COMMIT, NULL);
    return Section;
}

static NTSTATUS Map(HANDLE Section, LONGLONG Start, SIZE_T Bytes, PVOID *Base, SIZE_T *Size)
{
    LARGE_INTEGER Offset = {.QuadPart = Start};

    *Base = NULL;
    *Size = Bytes;
    return ZwMapViewOfSection(Section, ZwCurrentProcess(), Base, 0, 0, &Offset, Size, ViewUnmap, 0, PAGE_READWRITE);
}

/* ZwMapViewOfSection: several views of one section show the same memory; it starts as zeroes. */
static void Views_OfOneSection_ShowTheSameMemory(void **state)
{
    PUCHAR First, Second;
    SIZE_T Size;
    NTSTATUS Status;
    HANDLE Section = CreateNamed(L"\\BaseNamedObjects\\shared", 100000, &Status), Opened;
    OBJECT_ATTRIBUTES Attributes;
    UNICODE_STRING Name = RTL_CONSTANT_STRING(L"\\BaseNamedObjects\\shared");

    (void)state;
    assert_int_equal(Status, STATUS_SUCCESS);
    InitializeObjectAttributes(&Attributes, &Name, OBJ_KERNEL_HANDLE, NULL, NULL);
    assert_int_equal(ZwOpenSection(&Opened, SECTION_ALL_ACCESS, &Attributes), STATUS_SUCCESS);
    assert_int_equal(Map(Section, 0, 0, (PVOID *)&First, &Size), STATUS_SUCCESS);
    assert_int_equal(Size, 25 * PAGE_SIZE); /* "rounded up to the next page" */
    assert_int_equal(Map(Opened, 0x10000, 5000, (PVOID *)&Second, &Size), STATUS_SUCCESS);
    assert_int_equal(Size, 2 * PAGE_SIZE);
    assert_ptr_not_equal(First + 0x10000, Second);
    assert_int_equal(First[0x10000 + 77], 0);
    Second[77] = 0x5a;
    assert_int_equal(First[0x10000 + 77], 0x5a);
    assert_true(MmGetPhysicalAddress(First + 0x10000).QuadPart == MmGetPhysicalAddress(Second).QuadPart);
    /* ZwUnmapViewOfSection: any address in the view removes the whole view; views outlive the handle. */
    ZwClose(Section);
    ZwClose(Opened);
    Second[78] = 1;
    assert_int_equal(ZwUnmapViewOfSection(ZwCurrentProcess(), Second + 5000), STATUS_SUCCESS);
    assert_int_equal(ZwUnmapViewOfSection(ZwCurrentProcess(), Second), STATUS_NOT_MAPPED_VIEW);
    assert_int_equal(First[0x10000 + 78], 1);
    assert_int_equal(ZwUnmapViewOfSection(ZwCurrentProcess(), First), STATUS_SUCCESS);
    assert_int_equal(ZwOpenSection(&Opened, SECTION_ALL_ACCESS, &Attributes), STATUS_OBJECT_NAME_NOT_FOUND);
}

/* ZwCreateSection and ZwMapViewOfSection refuse what the pages say is wrong. */
static void Sections_BadArguments_AreRefused(void **state)
{
    LARGE_INTEGER Size = {.QuadPart = 4096}, None = {.QuadPart = 0};
    HANDLE Section;
    PVOID Base;
    SIZE_T Bytes;
    NTSTATUS Status;

    (void)state;
    assert_int_equal(ZwCreateSection(&Section, SECTION_ALL_ACCESS, NULL, &Size, PAGE_READWRITE, 0, NULL),
                     STATUS_INVALID_PARAMETER_6);
    assert_int_equal(ZwCreateSection(&Section, SECTION_ALL_ACCESS, NULL, &Size, 0x3, SEC_COMMIT, NULL),
                     STATUS_INVALID_PAGE_PROTECTION);
    assert_int_equal(ZwCreateSection(&Section, SECTION_ALL_ACCESS, NULL, &None, PAGE_READWRITE, SEC_COMMIT, NULL),
                     STATUS_INVALID_PARAMETER_4);
    assert_int_equal(ZwCreateSection(&Section, SECTION_ALL_ACCESS, NULL, &Size, PAGE_READONLY, SEC_IMAGE, NULL),
                     STATUS_INVALID_FILE_FOR_SECTION);
    Section = CreateNamed(L"\\BaseNamedObjects\\refuse", 8192, &Status);
    assert_int_equal(Status, STATUS_SUCCESS);
    CreateNamed(L"\\BaseNamedObjects\\refuse", 8192, &Status);
    assert_int_equal(Status, STATUS_OBJECT_NAME_COLLISION);
    assert_int_equal(Map(Section, 4096, 0, &Base, &Bytes), STATUS_MAPPED_ALIGNMENT);
    assert_int_equal(Map(Section, 0x10000, 0, &Base, &Bytes), STATUS_INVALID_VIEW_SIZE);
    assert_int_equal(Map(Section, 0, 8193, &Base, &Bytes), STATUS_INVALID_VIEW_SIZE);
    assert_int_equal(ZwUnmapViewOfSection(ZwCurrentProcess(), &Base), STATUS_NOT_MAPPED_VIEW);
    ZwClose(Section);
    assert_int_equal(Map(Section, 0, 0, &Base, &Bytes), STATUS_INVALID_HANDLE);
}

static NTSTATUS Open(PCWSTR Text, ULONG Disposition, ULONG Options, HANDLE *File, ULONG_PTR *Information)
{
    OBJECT_ATTRIBUTES Attributes;
    IO_STATUS_BLOCK Block;
    UNICODE_STRING Name;
    NTSTATUS Status;

    RtlInitUnicodeString(&Name, Text);
    InitializeObjectAttributes(&Attributes, &Name, OBJ_KERNEL_HANDLE | OBJ_CASE_INSENSITIVE, NULL, NULL);
    Status = ZwCreateFile(File, GENERIC_READ | GENERIC_WRITE | SYNCHRONIZE | DELETE, &Attributes, &Block, NULL,
                          FILE_ATTRIBUTE_NORMAL, 0, Disposition, Options | FILE_SYNCHRONOUS_IO_NONALERT, NULL, 0);
    *Information = Block.Information;
    return Status;
}

/* ZwCreateFile, ZwWriteFile, ZwReadFile, ZwQueryInformationFile over drive C:. */
static void Drive_File_IsWrittenReadAndDeleted(void **state)
{
    FILE_STANDARD_INFORMATION Facts;
    IO_STATUS_BLOCK Block;
    LARGE_INTEGER Offset = {.QuadPart = 2};
    ULONG_PTR Information;
    HANDLE File, Other;
    char bytes[16] = "0123456789";
    PCHAR Paged = ExAllocatePoolWithTag(PagedPool, 8192, 'evrD');

    (void)state;
    assert_int_equal(Open(L"\\??\\C:\\none.txt", FILE_OPEN, 0, &File, &Information), STATUS_OBJECT_NAME_NOT_FOUND);
    assert_int_equal(Open(L"\\??\\C:\\..\\none.txt", FILE_CREATE, 0, &File, &Information), STATUS_OBJECT_NAME_INVALID);
    assert_int_equal(Open(L"\\??\\C:\\Some.txt", FILE_CREATE, FILE_DELETE_ON_CLOSE, &File, &Information), STATUS_SUCCESS);
    assert_int_equal(Information, FILE_CREATED);
    assert_int_equal(ZwWriteFile(File, NULL, NULL, NULL, &Block, bytes, 10, NULL, NULL), STATUS_SUCCESS);
    assert_int_equal(Block.Information, 10);
    assert_int_equal(ZwReadFile(File, NULL, NULL, NULL, &Block, Paged, 8, &Offset, NULL), STATUS_SUCCESS);
    assert_memory_equal(Paged, "23456789", 8);
    assert_int_equal(ZwReadFile(File, NULL, NULL, NULL, &Block, Paged, 8, NULL, NULL), STATUS_END_OF_FILE);
    assert_int_equal(ZwQueryInformationFile(File, &Block, &Facts, sizeof(Facts), FileStandardInformation), STATUS_SUCCESS);
    assert_int_equal(Facts.EndOfFile.QuadPart, 10);
    assert_int_equal(Open(L"\\??\\c:\\some.TXT", FILE_CREATE, 0, &Other, &Information), STATUS_OBJECT_NAME_COLLISION);
    assert_int_equal(ZwClose(File), STATUS_SUCCESS);
    assert_int_equal(Open(L"\\??\\C:\\some.txt", FILE_OPEN, 0, &File, &Information), STATUS_OBJECT_NAME_NOT_FOUND);
    ExFreePoolWithTag(Paged, 'evrD');
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(Views_OfOneSection_ShowTheSameMemory),
        cmocka_unit_test(Sections_BadArguments_AreRefused),
        cmocka_unit_test(Drive_File_IsWrittenReadAndDeleted),
    };
    ntmm_options options;
    int failed;

    ntmm_default_options(&options);
    if (mkdtemp(Folder) == NULL)
        return 1;
    snprintf(options.drive, sizeof(options.drive), "%s", Folder);
    if (ntmm_start(&options) != 0)
        return 1;
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    ntmm_stop();
    if (rmdir(Folder) != 0) /* nothing is left behind */
        failed++;
    return failed;
}
