/*
 * ob_registry_test.c - the registry by table: RtlQueryRegistryValues and its relatives. SPDX-License-Identifier: MIT
 */
#include <stdio.h>
#include "io_kit.h"

static const WCHAR Key[] = L"Reg";
static char Log[1000];
#define W(Text) ((PWSTR)(Text)) /* drivers are built with literals that are not const */

static NTSTATUS Routine(PWSTR Name, ULONG Type, PVOID Data, ULONG Length, PVOID Context, PVOID EntryContext)
{
    char Line[100];
    assert_ptr_equal(Context, Log);
    snprintf(Line, sizeof Line, "%c%u:%u:%c:%u ", Name ? (char)Name[0] : '-', (unsigned)Type, (unsigned)Length,
             Data ? *(char *)Data : '-', (unsigned)(ULONG_PTR)EntryContext);
    strcat(Log, Line);
    return STATUS_SUCCESS;
}

static NTSTATUS Fails(PWSTR Name, ULONG Type, PVOID Data, ULONG Length, PVOID Context, PVOID EntryContext)
{
    (void)Name, (void)Type, (void)Data, (void)Length, (void)Context, (void)EntryContext;
    return STATUS_UNSUCCESSFUL;
}

static int Fill(void **state)
{
    ULONG Number = 7;
    ULONG64 Long = 0x1122334455667788;
    if (KitStart(state))
        return -1;
    OK(RtlCreateRegistryKey(RTL_REGISTRY_SERVICES, W(Key)));
    OK(RtlCheckRegistryKey(RTL_REGISTRY_SERVICES, W(Key)));
    FAILS(RtlCheckRegistryKey(RTL_REGISTRY_SERVICES, W(L"Nope")), STATUS_OBJECT_NAME_NOT_FOUND);
    OK(RtlWriteRegistryValue(RTL_REGISTRY_SERVICES, Key, W(L"Dword"), REG_DWORD, &Number, sizeof Number));
    OK(RtlWriteRegistryValue(RTL_REGISTRY_SERVICES, Key, W(L"Expand"), REG_EXPAND_SZ, W(L"xy"), 6));
    OK(RtlWriteRegistryValue(RTL_REGISTRY_SERVICES, Key, W(L"Multi"), REG_MULTI_SZ, W(L"a\0bc\0"), 12));
    OK(RtlWriteRegistryValue(RTL_REGISTRY_SERVICES, Key, W(L"Long"), REG_BINARY, &Long, sizeof Long));
    OK(RtlWriteRegistryValue(RTL_REGISTRY_SERVICES, W(L"Reg\\Sub"), W(L"Text"), REG_SZ, W(L"hi"), 6));
    return 0;
}

static void Query_Routine_SeesDocumentedForms(void **state)
{
    RTL_QUERY_REGISTRY_TABLE Table[] = {
        {Routine, 0, W(L"Dword"), (PVOID)1, REG_NONE, NULL, 0},
        {Routine, 0, W(L"Expand"), (PVOID)2, REG_NONE, NULL, 0},
        {Routine, RTL_QUERY_REGISTRY_NOEXPAND, W(L"Expand"), (PVOID)3, REG_NONE, NULL, 0},
        {Routine, 0, W(L"Multi"), (PVOID)4, REG_NONE, NULL, 0},
        {Routine, RTL_QUERY_REGISTRY_NOEXPAND, W(L"Multi"), (PVOID)5, REG_NONE, NULL, 0},
        {Routine, 0, W(L"Missing"), (PVOID)6, REG_NONE, NULL, 0},
        {Routine, 0, W(L"Missing"), (PVOID)7, REG_SZ, W(L"dd"), 0},
        {Routine, RTL_QUERY_REGISTRY_NOVALUE, NULL, (PVOID)8, REG_NONE, NULL, 0},
        {NULL, RTL_QUERY_REGISTRY_SUBKEY, W(L"Sub"), NULL, REG_NONE, NULL, 0},
        {Routine, 0, NULL, (PVOID)9, REG_NONE, NULL, 0},
        {Routine, RTL_QUERY_REGISTRY_TOPKEY, W(L"Dword"), (PVOID)10, REG_NONE, NULL, 0},
        {0},
    };
    (void)state;
    Log[0] = 0;
    OK(RtlQueryRegistryValues(RTL_REGISTRY_SERVICES, Key, Table, Log, NULL));
    assert_string_equal(Log, "D4:4:\a:1 E1:6:x:2 E2:6:x:3 M1:4:a:4 M1:6:b:4 M7:12:a:5 M1:6:d:7 -0:0:-:8 T1:6:h:9 D4:4:\a:10 ");
}

static void Query_Direct_StoresInEntryContext(void **state)
{
    ULONG Number = 0;
    UNICODE_STRING Text = {0};
    WCHAR Small[2];
    UNICODE_STRING Tight = {0, sizeof Small, Small};
    struct {
        LONG Room;
        UCHAR Rest[28];
    } Whole = {.Room = 32}, Bare = {.Room = -32};
    RTL_QUERY_REGISTRY_TABLE Table[] = {
        {NULL, RTL_QUERY_REGISTRY_DIRECT | RTL_QUERY_REGISTRY_TYPECHECK, W(L"Dword"), &Number, REG_DWORD << 24, NULL, 0},
        {NULL, RTL_QUERY_REGISTRY_DIRECT, W(L"Expand"), &Text, REG_NONE, NULL, 0},
        {NULL, RTL_QUERY_REGISTRY_DIRECT, W(L"Long"), &Whole, REG_NONE, NULL, 0},
        {NULL, RTL_QUERY_REGISTRY_DIRECT, W(L"Long"), &Bare, REG_NONE, NULL, 0},
        {0},
    };
    (void)state;
    OK(RtlQueryRegistryValues(RTL_REGISTRY_SERVICES, Key, Table, NULL, NULL));
    assert_int_equal(Number, 7);
    assert_int_equal(Text.Length, 4);
    assert_memory_equal(Text.Buffer, W(L"xy"), 6);
    ExFreePool(Text.Buffer);
    assert_int_equal(Whole.Room, 8); /* length, type, data */
    assert_int_equal(*(ULONG *)Whole.Rest, REG_BINARY);
    assert_int_equal(*(ULONG *)(Whole.Rest + 4), 0x55667788);
    assert_int_equal(*(ULONG64 *)&Bare, 0x1122334455667788);
    RTL_QUERY_REGISTRY_TABLE Wrong[] = {
        {NULL, RTL_QUERY_REGISTRY_DIRECT | RTL_QUERY_REGISTRY_TYPECHECK, W(L"Dword"), &Number, REG_SZ << 24, NULL, 0}, {0}};
    FAILS(RtlQueryRegistryValues(RTL_REGISTRY_SERVICES, Key, Wrong, NULL, NULL), STATUS_OBJECT_TYPE_MISMATCH);
    RTL_QUERY_REGISTRY_TABLE Narrow[] = {{NULL, RTL_QUERY_REGISTRY_DIRECT, W(L"Expand"), &Tight, REG_NONE, NULL, 0}, {0}};
    FAILS(RtlQueryRegistryValues(RTL_REGISTRY_SERVICES, Key, Narrow, NULL, NULL), STATUS_BUFFER_TOO_SMALL);
}

static void Query_Errors_EndIt(void **state)
{
    RTL_QUERY_REGISTRY_TABLE Required[] = {{Routine, RTL_QUERY_REGISTRY_REQUIRED, W(L"Missing"), NULL, REG_NONE, NULL, 0}, {0}};
    RTL_QUERY_REGISTRY_TABLE Failing[] = {
        {Fails, 0, W(L"Dword"), NULL, REG_NONE, NULL, 0}, {Routine, 0, W(L"Dword"), NULL, REG_NONE, NULL, 0}, {0}};
    RTL_QUERY_REGISTRY_TABLE Bad[] = {{Routine, RTL_QUERY_REGISTRY_DIRECT, W(L"Dword"), Log, REG_NONE, NULL, 0}, {0}};
    (void)state;
    Log[0] = 0;
    FAILS(RtlQueryRegistryValues(RTL_REGISTRY_SERVICES, Key, Required, Log, NULL), STATUS_OBJECT_NAME_NOT_FOUND);
    FAILS(RtlQueryRegistryValues(RTL_REGISTRY_SERVICES, Key, Failing, Log, NULL), STATUS_UNSUCCESSFUL);
    FAILS(RtlQueryRegistryValues(RTL_REGISTRY_SERVICES, Key, Bad, Log, NULL), STATUS_INVALID_PARAMETER);
    FAILS(RtlQueryRegistryValues(RTL_REGISTRY_SERVICES, W(L"Nope"), Required, Log, NULL), STATUS_OBJECT_NAME_NOT_FOUND);
    OK(RtlQueryRegistryValues(RTL_REGISTRY_SERVICES | RTL_REGISTRY_OPTIONAL, W(L"Nope"), Required, Log, NULL));
    FAILS(RtlQueryRegistryValues(6, W(L"Nope"), Required, Log, NULL), STATUS_INVALID_PARAMETER);
    assert_string_equal(Log, "");
    OK(RtlDeleteRegistryValue(RTL_REGISTRY_SERVICES, Key, W(L"Long")));
    FAILS(RtlDeleteRegistryValue(RTL_REGISTRY_SERVICES, Key, W(L"Long")), STATUS_OBJECT_NAME_NOT_FOUND);
}

static void Key_Enumerate_NamesAndFullInformation(void **state)
{
    UNICODE_STRING Path = KitString(W(L"\\Registry\\Machine\\Software\\Enum")), Sub = KitString(W(L"One"));
    OBJECT_ATTRIBUTES A, B;
    HANDLE Parent, Child;
    union {
        KEY_BASIC_INFORMATION Basic;
        KEY_FULL_INFORMATION Full;
        KEY_NAME_INFORMATION Name;
        UCHAR Room[200];
    } Out;
    ULONG Length;
    (void)state;
    InitializeObjectAttributes(&A, &Path, OBJ_CASE_INSENSITIVE | OBJ_KERNEL_HANDLE, NULL, NULL);
    OK(ZwCreateKey(&Parent, KEY_ALL_ACCESS, &A, 0, NULL, 0, NULL));
    InitializeObjectAttributes(&B, &Sub, OBJ_CASE_INSENSITIVE | OBJ_KERNEL_HANDLE, Parent, NULL);
    OK(ZwCreateKey(&Child, KEY_ALL_ACCESS, &B, 0, NULL, 0, NULL));
    FAILS(ZwDeleteKey(Parent), STATUS_CANNOT_DELETE);
    OK(ZwEnumerateKey(Parent, 0, KeyBasicInformation, &Out, sizeof Out, &Length));
    assert_int_equal(Out.Basic.NameLength, 6);
    assert_memory_equal(Out.Basic.Name, W(L"One"), 6);
    FAILS(ZwEnumerateKey(Parent, 1, KeyBasicInformation, &Out, sizeof Out, &Length), STATUS_NO_MORE_ENTRIES);
    OK(ZwQueryKey(Parent, KeyFullInformation, &Out, sizeof Out, &Length));
    assert_int_equal(Out.Full.SubKeys, 1);
    assert_int_equal(Out.Full.MaxNameLen, 6);
    OK(ZwQueryKey(Child, KeyNameInformation, &Out, sizeof Out, &Length));
    assert_int_equal(Out.Name.NameLength, sizeof L"\\REGISTRY\\Machine\\Software\\Enum\\One" - 2);
    OK(ZwDeleteKey(Child));
    FAILS(ZwQueryKey(Child, KeyFullInformation, &Out, sizeof Out, &Length), STATUS_KEY_DELETED);
    OK(ZwClose(Child));
    OK(ZwDeleteKey(Parent));
    OK(ZwClose(Parent));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(Query_Routine_SeesDocumentedForms),
        cmocka_unit_test(Query_Direct_StoresInEntryContext),
        cmocka_unit_test(Query_Errors_EndIt),
        cmocka_unit_test(Key_Enumerate_NamesAndFullInformation),
    };
    return cmocka_run_group_tests(tests, Fill, KitStop);
}
