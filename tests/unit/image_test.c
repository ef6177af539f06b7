/*
 * image_test.c - loading: relocation, imports, cookie, shared data, protections, stubs, discarding, unloading.
 * SPDX-License-Identifier: MIT
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <cmocka.h>
#include "ldr/ldr.h"
#include "mm/mm.h"
#include "ntmm.h"
#include "pe_builder.h"

static UCHAR File[PB_FILE_SIZE];
static CHAR Error[LDR_ERROR_CHARS];

static int Start(void **State)
{
    (void)State;
    return ntmm_start(NULL);
}

static int Stop(void **State)
{
    (void)State;
    return ntmm_stop();
}

static ULONG64 PagesInUse(void)
{
    MM_REGION_INFO Info;
    MmQueryRegion(MmRegionDriverImages, &Info);
    return Info.PagesInUse;
}

static LDR_IMAGE *Load(const CHAR *Name)
{
    LDR_IMAGE *Image = NULL;
    NTSTATUS Status = LdrLoadImage(Name, File, sizeof(File), &Image, Error, sizeof(Error));
    if (Status != STATUS_SUCCESS) {
        fail_msg("%s: 0x%08x %s", Name, (unsigned)Status, Error);
    }
    return Image;
}

static ULONG64 Read64(const LDR_IMAGE *Image, ULONG Rva)
{
    ULONG64 Value;
    memcpy(&Value, Image->Base + Rva, sizeof(Value));
    return Value;
}

static void Load_GoodImage_RelocatesAndBinds(void **State)
{
    ULONG64 Pages = PagesInUse();
    (void)State;
    PbBuild(File, 0x1234);
    LDR_IMAGE *Image = Load("dir/small.sys");
    assert_string_equal(Image->Name, "small.sys");
    assert_int_equal(Image->Size, 0x6000);
    assert_int_equal(MmRegionOf(Image->Base), MmRegionDriverImages);
    assert_ptr_equal(LdrpFindImage((ULONG_PTR)Image->Base + 0x5fff), Image);
    assert_null(LdrpFindImage((ULONG_PTR)Image));
    assert_true(Image->Relocated);
    assert_int_equal(Read64(Image, 0x3010), (ULONG_PTR)Image->Base + 0x3020);
    /* imports: two descriptors of one module; one routine nobody has */
    assert_int_equal(Image->ImportsBound, 2);
    assert_int_equal(Image->ImportsMissing, 1);
    assert_string_equal(Image->Missing[0], "ntoskrnl.exe!PsNoSuchRoutine");
    assert_int_equal(Read64(Image, 0x2090), (ULONG_PTR)LdrFindEntry("ExFreePool")->Border);
    assert_int_equal(Read64(Image, 0x20b0), (ULONG_PTR)LdrFindEntry("ExAllocatePool2")->Border);
    assert_ptr_equal(LdrpFindImage(Read64(Image, 0x2098)), Image);
    /* View is the file's, untouched */
    assert_memory_equal(Image->View + 0x2000, File + PB_RDATA, 0x600);
    assert_int_equal(Image->ExceptionCount, 2);
    assert_int_equal(Image->ExceptionDirectory[1].Begin, 0x4000);
    ULONG Offset;
    assert_string_equal(LdrFindNearestExport(Image, 0x1003, &Offset), "Answer");
    assert_int_equal(Offset, 3);
    assert_ptr_equal(LdrFindExport(Image, "Answer"), Image->Base + 0x1000);
    assert_ptr_equal(LdrFindExport(Image, "Away"), LdrFindEntry("ExFreePool")->Border);
    assert_null(LdrFindExport(Image, "Nothing"));
    NTSTATUS (*Entry)(PVOID, PVOID) = (PVOID)(Image->Base + Image->Pe.EntryPoint);
    assert_int_equal(KI_CALLOUT(NTSTATUS, Entry, (PVOID, PVOID), (NULL, NULL)), 0x1234);
    assert_int_equal(LdrUnloadImage(Image), STATUS_SUCCESS);
    assert_int_equal(PagesInUse(), Pages);
}

static void Load_Cookie_IsFreshWithTopBitsZero(void **State)
{
    (void)State;
    PbBuild(File, 0);
    LDR_IMAGE *One = Load("one.sys"), *Two = Load("two.sys");
    ULONG64 First = Read64(One, 0x3000), Second = Read64(Two, 0x3000);
    assert_int_equal(First >> 48, 0);
    assert_int_not_equal(First, 0x00002B992DDFA232ull);
    assert_int_not_equal(First, 0);
    assert_int_not_equal(First, Second);
    assert_int_equal(LdrUnloadImage(Two), STATUS_SUCCESS);
    assert_int_equal(LdrUnloadImage(One), STATUS_SUCCESS);
}

/* ---- protections: each touch in a function that ntmm_catch can leave ---- */

static LDR_IMAGE *Victim;
static ULONG VictimRva;

static void WriteThere(void *Argument)
{
    (void)Argument;
    *(volatile UCHAR *)(Victim->Base + VictimRva) = 1;
}

static void ReadThere(void *Argument)
{
    *(UCHAR *)Argument = *(volatile UCHAR *)(Victim->Base + VictimRva);
}

static void RunThere(void *Argument)
{
    VOID (*Routine)(VOID) = (PVOID)(Victim->Base + VictimRva);
    (void)Argument;
    KI_CALLOUT(VOID, Routine, (VOID), ());
}

static void ExpectStop(void (*Touch)(void *), ULONG Rva, ULONG Code)
{
    ntmm_bugcheck Bugcheck;
    VictimRva = Rva;
    if (!ntmm_catch(Touch, NULL, &Bugcheck)) {
        fail_msg("touching RVA 0x%x did not stop", Rva);
    }
    assert_int_equal(Bugcheck.code, Code);
    assert_int_equal(Bugcheck.parameters[0], (ULONG_PTR)Victim->Base + Rva);
}

static void Sections_HaveTheirProtections(void **State)
{
    UCHAR Byte;
    (void)State;
    PbBuild(File, 0);
    File[PB_DATA + 0x40] = 0xc3;
    Victim = Load("victim.sys");
    ExpectStop(WriteThere, 0x1000, 0xBE); /* ATTEMPTED_WRITE_TO_READONLY_MEMORY: code */
    ExpectStop(WriteThere, 0x2000, 0xBE); /* constants */
    ExpectStop(WriteThere, 0x0000, 0xBE); /* headers */
    ExpectStop(RunThere, 0x3040, 0xFC);   /* ATTEMPTED_EXECUTE_OF_NOEXECUTE_MEMORY: data */
    VictimRva = 0x3040;
    assert_false(ntmm_catch(WriteThere, NULL, NULL));
    VictimRva = 0x4000;
    assert_false(ntmm_catch(RunThere, NULL, NULL));
    ExpectStop(WriteThere, 0x4000, 0xBE);
    LdrpDiscardInit(Victim);
    ntmm_bugcheck Bugcheck;
    assert_true(ntmm_catch(RunThere, &Byte, &Bugcheck)); /* INIT is gone */
    assert_int_equal(Bugcheck.code, 0x50);
    assert_true(ntmm_catch(ReadThere, &Byte, &Bugcheck));
    assert_int_equal(LdrUnloadImage(Victim), STATUS_SUCCESS);
}

static void CallMissing(void *Argument)
{
    VOID (*Routine)(VOID) = (PVOID)Read64(Argument, 0x2098);
    KI_CALLOUT(VOID, Routine, (VOID), ());
}

static void MissingImport_StopsByNameWhenCalled(void **State)
{
    ntmm_bugcheck Bugcheck;
    (void)State;
    PbBuild(File, 0);
    LDR_IMAGE *Image = Load("needy.sys");
    assert_true(ntmm_catch(CallMissing, Image, &Bugcheck));
    assert_int_equal(Bugcheck.code, 0xC0000263);
    assert_string_equal((const CHAR *)Bugcheck.parameters[0], "ntoskrnl.exe!PsNoSuchRoutine");
    assert_int_equal(Bugcheck.parameters[2], (ULONG_PTR)Image->Base);
    assert_non_null(strstr(Bugcheck.words, "PsNoSuchRoutine"));
    assert_int_equal(LdrUnloadImage(Image), STATUS_SUCCESS);
}

static void Load_WithoutRelocations_MovesUnlessItHoldsAddresses(void **State)
{
    LDR_IMAGE *Image;
    (void)State;
    PbBuild(File, 0);
    PbPut32(File, PB_DIR(IMAGE_DIRECTORY_ENTRY_BASERELOC), 0);
    PbPut32(File, PB_DIR(IMAGE_DIRECTORY_ENTRY_BASERELOC) + 4, 0);
    Image = Load("plain.sys"); /* not marked: taken for RIP-relative, as Windows does */
    assert_false(Image->Relocated);
    assert_int_equal(LdrUnloadImage(Image), STATUS_SUCCESS);
    PbPut16(File, PB_FILE_HEADER + 18, IMAGE_FILE_EXECUTABLE_IMAGE | IMAGE_FILE_RELOCS_STRIPPED);
    assert_int_equal(LdrLoadImage("fixed.sys", File, sizeof(File), &Image, Error, sizeof(Error)), STATUS_CONFLICTING_ADDRESSES);
    assert_non_null(strstr(Error, "relocations were stripped"));
    assert_non_null(strstr(Error, "0x3010"));
    PbPut64(File, PB_DATA + 0x10, 0); /* the pointer gone: nothing absolute is left */
    Image = Load("stripped.sys");
    assert_int_equal(LdrUnloadImage(Image), STATUS_SUCCESS);
}

static void Load_SharedDataAddress_IsRedirected(void **State)
{
    (void)State;
    PbBuild(File, 0);
    /* movabs rax, 0xFFFFF78000000014; mov rax, [rax]; ret */
    static const UCHAR Code[] = {0x48, 0xb8, 0x14, 0, 0, 0, 0x80, 0xf7, 0xff, 0xff, 0x48, 0x8b, 0x00, 0xc3};
    memcpy(File + PB_TEXT, Code, sizeof(Code));
    LDR_IMAGE *Image = Load("clock.sys");
    assert_true(Image->UsesSharedData);
    ULONG64 (*Entry)(VOID) = (PVOID)(Image->Base + 0x1000);
    ULONG64 First = KI_CALLOUT(ULONG64, Entry, (VOID), ()), Wall = HalQuerySystemTime(), Now = First;
    assert_true(First <= Wall && Wall - First < 10000000); /* within a second of the clock */
    for (int Tries = 0; Now == First && Tries < 500; Tries++) {
        LARGE_INTEGER Delay = {.QuadPart = -100000};
        KeDelayExecutionThread(KernelMode, FALSE, &Delay);
        Now = KI_CALLOUT(ULONG64, Entry, (VOID), ());
    }
    assert_true(Now > First);                                                              /* and it is kept current */
    assert_int_equal(*(ULONG *)((PUCHAR)(Read64(Image, 0x1002) & ~0xFFFull) + 0x26C), 10); /* NtMajorVersion */
    assert_int_equal(LdrUnloadImage(Image), STATUS_SUCCESS);
}

static void Load_ImportsFromAnotherImage_HoldIt(void **State)
{
    LDR_IMAGE *Again;
    (void)State;
    PbBuild(File, 0x77);
    LDR_IMAGE *Library = Load("small.sys");
    PbText(File, PB_RDATA + 0x20d0 - 0x2000, "SMALL.sys");
    PbText(File, PB_RDATA + 0x20e2 - 0x2000, "Answer");
    PbText(File, PB_RDATA + 0x2102 - 0x2000, "Away");
    PbText(File, PB_RDATA + 0x220c - 0x2000, "");
    LDR_IMAGE *User = Load("user.sys");
    assert_int_equal(User->ImportsMissing, 1); /* ExAllocatePool2 of small.sys */
    assert_int_equal(Read64(User, 0x2090), (ULONG_PTR)Library->Base + 0x1000);
    assert_int_equal(Read64(User, 0x2098), (ULONG_PTR)LdrFindEntry("ExFreePool")->Border);
    assert_null(LdrpValidateImages());
    Library->ReferenceCount++;
    assert_non_null(strstr(LdrpValidateImages(), "4:"));
    Library->ReferenceCount--;
    ULONG64 Slot = Read64(User, 0x2090), Wrong = Slot + 1;
    assert_int_equal(MmCopyToManaged(User->Base + 0x2090, &Wrong, sizeof(Wrong)), STATUS_SUCCESS);
    assert_non_null(strstr(LdrpValidateImages(), "3:"));
    assert_int_equal(MmCopyToManaged(User->Base + 0x2090, &Slot, sizeof(Slot)), STATUS_SUCCESS);
    assert_null(LdrpValidateImages());
    assert_int_equal(LdrUnloadImage(Library), STATUS_DEVICE_BUSY);
    assert_int_equal(LdrUnloadImage(User), STATUS_SUCCESS);
    assert_int_equal(LdrUnloadImage(Library), STATUS_SUCCESS);
    assert_int_equal(LdrLoadImage("/nonexistent/x.sys", NULL, 0, &Again, Error, sizeof(Error)), STATUS_OBJECT_NAME_NOT_FOUND);
    assert_non_null(strstr(Error, "No such file"));
    assert_int_equal(LdrLoadImage("/", NULL, 0, &Again, Error, sizeof(Error)), STATUS_OBJECT_NAME_NOT_FOUND);
    assert_int_equal(LdrLoadImage("x.sys", "MZ", 2, &Again, Error, sizeof(Error)), STATUS_INVALID_IMAGE_FORMAT);
}

static void Load_ManyTimes_LeavesNothing(void **State)
{
    ULONG64 Pages = PagesInUse();
    (void)State;
    PbBuild(File, 0);
    for (int Round = 0; Round < 200; Round++) {
        assert_int_equal(LdrUnloadImage(Load("again.sys")), STATUS_SUCCESS);
    }
    assert_int_equal(PagesInUse(), Pages);
    assert_null(MiValidateAll());
}

/* mov eax, 0; [...]; one privileged instruction each, run as driver code. */
static ULONG64 RunCode(LDR_IMAGE *Image, const void *Code, size_t Length, ULONG64 Argument)
{
    assert_int_equal(MmCopyToManaged(Image->Base + 0x1010, Code, Length), STATUS_SUCCESS);
    ULONG64 (*Routine)(ULONG64) = (PVOID)(Image->Base + 0x1010);
    return KI_CALLOUT(ULONG64, Routine, (ULONG64), (Argument));
}

static void Privileged_InDriverCode_IsEmulated(void **State)
{
    (void)State;
    PbBuild(File, 0);
    LDR_IMAGE *Image = Load("privileged.sys");
    assert_int_equal(RunCode(Image, "\x44\x0f\x20\xc0\xc3", 5, 0), PASSIVE_LEVEL); /* mov rax, cr8; ret */
    RunCode(Image, "\x44\x0f\x22\xc1\xc3", 5, DISPATCH_LEVEL);                     /* mov cr8, rcx; ret */
    assert_int_equal(KeGetCurrentIrql(), DISPATCH_LEVEL);
    assert_int_equal(RunCode(Image, "\x44\x0f\x20\xc0\xc3", 5, 0), DISPATCH_LEVEL);
    RunCode(Image, "\x44\x0f\x22\xc1\xc3", 5, PASSIVE_LEVEL);
    assert_int_equal(KeGetCurrentIrql(), PASSIVE_LEVEL);
    assert_int_equal(RunCode(Image, "\xfa\xfb\x0f\x20\xc0\xc3", 6, 0) & 0x80000001, 0x80000001); /* cli; sti; mov rax, cr0 */
    assert_int_equal(RunCode(Image, "\x0f\x20\xe0\xc3", 4, 0) & 0x20, 0x20);                     /* mov rax, cr4: PAE */
    assert_int_equal(RunCode(Image, "\x31\xc0\xec\xc3", 4, 0), 0xff);                            /* in al, dx */
    assert_int_equal(RunCode(Image, "\xb9\x80\x00\x00\xc0\x0f\x32\xc3", 8, 0) & 0x800, 0x800);   /* rdmsr EFER: NXE */
    assert_int_equal(RunCode(Image, "\x65\x48\x8b\x04\x25\x88\x01\x00\x00\xc3", 10, 0), (ULONG_PTR)KiCurrentThread());
    assert_int_equal(LdrUnloadImage(Image), STATUS_SUCCESS);
}

static void Load_AndUnload_TakesFarLessThanTenMilliseconds(void **State)
{
    struct timespec From, To;
    (void)State;
    PbBuild(File, 0);
    clock_gettime(CLOCK_MONOTONIC, &From);
    for (int Round = 0; Round < 20; Round++) {
        LdrUnloadImage(Load("fast.sys"));
    }
    clock_gettime(CLOCK_MONOTONIC, &To);
    double Each = ((double)(To.tv_sec - From.tv_sec) * 1e3 + (double)(To.tv_nsec - From.tv_nsec) / 1e6) / 20;
    print_message("load and unload: %.3f ms\n", Each);
    assert_true(Each < 100); /* a bound that a loaded machine keeps; the figure is the bench's */
}

int main(void)
{
    const struct CMUnitTest Tests[] = {
        cmocka_unit_test(Load_GoodImage_RelocatesAndBinds),
        cmocka_unit_test(Load_Cookie_IsFreshWithTopBitsZero),
        cmocka_unit_test(Sections_HaveTheirProtections),
        cmocka_unit_test(MissingImport_StopsByNameWhenCalled),
        cmocka_unit_test(Load_WithoutRelocations_MovesUnlessItHoldsAddresses),
        cmocka_unit_test(Load_SharedDataAddress_IsRedirected),
        cmocka_unit_test(Load_ImportsFromAnotherImage_HoldIt),
        cmocka_unit_test(Load_ManyTimes_LeavesNothing),
        cmocka_unit_test(Privileged_InDriverCode_IsEmulated),
        cmocka_unit_test(Load_AndUnload_TakesFarLessThanTenMilliseconds),
    };
    return cmocka_run_group_tests(Tests, Start, Stop);
}
