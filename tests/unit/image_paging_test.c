/*
 * image_paging_test.c - pageable sections of driver binaries: in the working set, out of RAM and back, locked by count, and touched
 * at the wrong time (src/mm/image.c; tests/sys/pageable.c). SPDX-License-Identifier: MIT
 */
#include <time.h>
#include "mm_kit.h"
#include "ldr/ldr.h"

static LDR_IMAGE *Image;
static CHAR Error[LDR_ERROR_CHARS];

static int Start(void **State)
{
    return KitStart(State);
}

static int Load(void **State)
{
    BOOLEAN Entered;
    (void)State;
    if (LdrLoadImage(NTMM_SYS "/pageable.sys", NULL, 0, &Image, Error, sizeof(Error)) != STATUS_SUCCESS) {
        print_error("%s\n", Error);
        return -1;
    }
    return LdrStartDriver(Image, &Entered, Error, sizeof(Error)) == STATUS_SUCCESS ? 0 : -1;
}

static int Unload(void **State)
{
    (void)State;
    LdrStopDriver(Image, NULL);
    LDR_IMAGE *Old = Image;
    Image = NULL;
    if (LdrUnloadImage(Old) != STATUS_SUCCESS) {
        return -1;
    }
    if (MiValidateAll() != NULL) {
        print_error("%s\n", MiValidateAll());
        return -1;
    }
    return 0;
}

static PUCHAR At(const CHAR *Name)
{
    PUCHAR Va = LdrFindExport(Image, Name);
    assert_non_null(Va);
    return Va;
}

static BOOLEAN IsPresent(const CHAR *Name)
{
    return MiPteIsValid(MiReadPte(MiPteOf((ULONG_PTR)At(Name))));
}
static BOOLEAN IsPageable(const CHAR *Name)
{
    MMPTE Entry = MiReadPte(MiPteOf((ULONG_PTR)At(Name)));
    return !MiPteIsValid(Entry) || MiPteIsInWorkingSet(Entry);
}

static ULONG Call(const CHAR *Name, ULONG_PTR Argument)
{
    ULONG (*Routine)(ULONG_PTR) = (PVOID)At(Name);
    return KI_CALLOUT(ULONG, Routine, (ULONG_PTR), (Argument));
}
static PVOID Lock(ULONG Operation, PVOID Argument)
{
    NTSTATUS (*Routine)(ULONG, PVOID *) = (PVOID)At("LockByImport");
    KI_CALLOUT(NTSTATUS, Routine, (ULONG, PVOID *), (Operation, &Argument));
    return Argument;
}
static void Trim(void)
{
    (void)MiEmptyWorkingSet(&MiState->SystemWorkingSet);
}

static void Sections_ByNameAndOnlyThese_ArePageable(void **State)
{
    (void)State;
    assert_true(IsPageable("Triple"));
    assert_true(IsPageable("TripleRaised"));
    assert_true(IsPageable("PagedBytes"));
    assert_false(IsPageable("ReadRaised"));
    assert_false(IsPageable("ResidentWord"));
    Trim();
    assert_false(IsPresent("Triple"));
    assert_false(IsPresent("PagedBytes"));
    assert_true(IsPresent("ReadRaised"));
    KitAssertValid();
}

static void Section_LeavesAndComesBackWithItsContents(void **State)
{
    volatile UCHAR *Bytes = At("PagedBytes");
    ULONG (**Pointer)(ULONG) = (PVOID)At("PagedPointer");
    (void)State;
    for (ULONG Round = 0; Round < 3; Round++) {
        Bytes[4096] = (UCHAR)(0x50 + Round);
        Trim();
        assert_false(IsPresent("PagedBytes"));
        assert_int_equal(Call("Triple", 5), 15); /* code is executable again */
        assert_int_equal(Bytes[0] + 256 * Bytes[3], 1 + 256 * 4);
        assert_int_equal(Bytes[4096], 0x50 + Round);
        assert_ptr_equal((PVOID)*Pointer, At("Triple")); /* relocated once, and for good */
        assert_int_equal(KI_CALLOUT(ULONG, *Pointer, (ULONG), (7)), 21);
    }
    assert_true(IsPresent("Triple"));
    KitAssertValid();
}

/* "All functions in the PAGExxxx section are then guaranteed to be locked down when this function returns." */
static void Lock_ByCount_KeepsTheSectionResident(void **State)
{
    (void)State;
    Trim();
    PVOID Handle = MmLockPagableCodeSection(At("TripleRaised"));
    assert_non_null(Handle);
    assert_true(IsPresent("TripleRaised"));
    assert_false(IsPageable("TripleRaised"));
    MmLockPagableSectionByHandle(Handle);
    assert_ptr_equal(MmLockPagableImageSection(At("TripleRaised") + 2), Handle);
    KitAssertValid();
    for (ULONG Count = 3; Count > 0; Count--) {
        Trim();
        assert_true(IsPresent("TripleRaised"));
        assert_int_equal(Call("TripleRaised", 4), 12);
        MmUnlockPagableImageSection(Handle);
    }
    assert_true(IsPageable("TripleRaised"));
    Trim();
    assert_false(IsPresent("TripleRaised"));
    KitAssertValid();
    /* the handle stays good: 0 to 1 brings the section in again */
    MmLockPagableSectionByHandle(Handle);
    assert_true(IsPresent("TripleRaised"));
    MmUnlockPagableImageSection(Handle);
    /* through a driver's own imports */
    Handle = Lock(0, NULL);
    Trim();
    assert_int_equal(Call("TripleRaised", 6), 18);
    Lock(1, Handle);
    assert_true(IsPageable("TripleRaised"));
}

/* A section that is not pageable may be locked, too: nothing changes. */
static void Lock_ResidentSection_StaysResident(void **State)
{
    (void)State;
    PVOID Handle = MmLockPagableDataSection(At("ResidentWord"));
    MmUnlockPagableImageSection(Handle);
    assert_false(IsPageable("ResidentWord"));
}

/* MmPageEntireDriver: "overriding the attributes of the various sections"; "returns a pointer to the beginning of the driver image";
 * "if the driver is already completely pageable, calling MmPageEntireDriver has no effect". MmResetDriverPaging: "calls do nothing if
 * the attributes have never been overridden". */
static void PageEntireDriver_AndReset(void **State)
{
    (void)State;
    MmResetDriverPaging(At("ReadRaised"));
    assert_false(IsPageable("ReadRaised"));
    assert_true(IsPageable("Triple"));
    PVOID Handle = MmLockPagableDataSection(At("ResidentWord"));
    assert_ptr_equal(MmPageEntireDriver(At("ReadRaised")), Image->Base);
    assert_true(IsPageable("ReadRaised"));
    assert_false(IsPageable("ResidentWord")); /* locked */
    assert_ptr_equal(MmPageEntireDriver(At("Triple")), Image->Base);
    KitAssertValid();
    Trim();
    assert_false(IsPresent("ReadRaised"));
    MmUnlockPagableImageSection(Handle);
    assert_true(IsPageable("ResidentWord"));
    Trim();
    assert_int_equal(*(volatile ULONG *)At("ResidentWord"), 7);
    MmResetDriverPaging(At("ReadRaised"));
    assert_true(IsPresent("ReadRaised"));
    assert_false(IsPageable("ReadRaised"));
    assert_false(IsPageable("ResidentWord"));
    assert_true(IsPageable("Triple"));
    KitAssertValid();
    assert_ptr_equal(Lock(2, NULL), Image->Base);
    Trim();
    Lock(3, NULL);
    assert_int_equal(Call("ReadRaised", (ULONG_PTR)At("ResidentWord")), 7);
}

/* ---- touched at the wrong time ---- */
static void CallReadRaised(void *Argument)
{
    (void)Call("ReadRaised", (ULONG_PTR)Argument);
}
static void CallTripleRaised(void *Argument)
{
    (void)Call("TripleRaised", (ULONG_PTR)Argument);
}

static void Raised_NotResident_Is0xD1ByTheDriver(void **State)
{
    ntmm_bugcheck Stop;
    PUCHAR Code = At("ReadRaised"), Data = At("PagedBytes");
    (void)State;
    Trim();
    assert_true(ntmm_catch(CallReadRaised, Data, &Stop));
    assert_int_equal(Stop.code, DRIVER_IRQL_NOT_LESS_OR_EQUAL);
    assert_int_equal(Stop.parameters[0], (ULONG_PTR)Data);
    assert_int_equal(Stop.parameters[1], DISPATCH_LEVEL);
    assert_int_equal(Stop.parameters[2], 0);
    assert_true(Stop.parameters[3] - (ULONG_PTR)Code < 0x80);
    assert_int_equal(KeGetCurrentIrql(), PASSIVE_LEVEL);
    assert_int_equal(Data[0], 1);
    assert_int_equal(Call("ReadRaised", (ULONG_PTR)Data), 1); /* resident by luck: nothing is said without forced checking */
}

static void Raised_ForcedChecking_CatchesWhatIsResident(void **State)
{
    ntmm_bugcheck Stop;
    PUCHAR Data = At("PagedBytes"), Code = At("TripleRaised");
    (void)State;
    KiSetForceIrqlChecking(TRUE);
    for (ULONG Round = 0; Round < 3; Round++) {
        assert_int_equal(Data[0], 1);
        assert_true(IsPresent("PagedBytes"));
        assert_true(ntmm_catch(CallReadRaised, Data, &Stop));
        assert_int_equal(Stop.code, DRIVER_IRQL_NOT_LESS_OR_EQUAL);
        assert_int_equal(Stop.parameters[0], (ULONG_PTR)Data);
        assert_true(IsPresent("PagedBytes"));
    }
    /* pageable code that raises: its next instruction is not there */
    assert_true(ntmm_catch(CallTripleRaised, NULL, &Stop));
    assert_int_equal(Stop.code, DRIVER_IRQL_NOT_LESS_OR_EQUAL);
    assert_int_equal(Stop.parameters[1], DISPATCH_LEVEL);
    assert_int_equal(Stop.parameters[2], 8);
    assert_true(Stop.parameters[0] - (ULONG_PTR)Code < 0x80);
    assert_int_equal(Stop.parameters[3], Stop.parameters[0]);
    /* locked, it may */
    PVOID Handle = MmLockPagableCodeSection(Code);
    assert_int_equal(Call("TripleRaised", 3), 9);
    MmUnlockPagableImageSection(Handle);
    Handle = MmLockPagableDataSection(Data);
    assert_int_equal(Call("ReadRaised", (ULONG_PTR)Data), 1);
    MmUnlockPagableImageSection(Handle);
    assert_true(ntmm_catch(CallReadRaised, Data, &Stop));
    KiSetForceIrqlChecking(FALSE);
    assert_int_equal(Call("ReadRaised", (ULONG_PTR)At("ResidentWord")), 7);
    KitAssertValid();
}

/* ---- misuse ---- */
static void DoLock(void *Argument)
{
    (void)MmLockPagableDataSection(Argument);
}
static void DoLockByHandle(void *Argument)
{
    MmLockPagableSectionByHandle(Argument);
}
static void DoUnlock(void *Argument)
{
    MmUnlockPagableImageSection(Argument);
}
static void RaisedLock(void *Argument)
{
    KIRQL Old;
    KeRaiseIrql(DISPATCH_LEVEL, &Old);
    (void)MmLockPagableDataSection(Argument);
}
static void CallInit(void *Argument)
{
    (void)Call("OnceOnly", (ULONG_PTR)Argument);
}

static void Misuse_FiveNumbers(void **State)
{
    PVOID Pool = ExAllocatePoolWithTag(PagedPool, 64, 'tseT');
    ULONG Local = 0;
    (void)State;
    PVOID Handle = MmLockPagableDataSection(At("PagedBytes"));
    MmUnlockPagableImageSection(Handle);
    KitExpectStop(DoUnlock, Handle, MEMORY_MANAGEMENT, 0x1010, Handle, 0, 0);
    KitExpectStop(DoUnlock, &Local, MEMORY_MANAGEMENT, 0x1010, &Local, 0, 0);
    KitExpectStop(DoUnlock, (PUCHAR)Handle + 1, MEMORY_MANAGEMENT, 0x1010, (PUCHAR)Handle + 1, 0, 0);
    KitExpectStop(DoLock, Pool, MEMORY_MANAGEMENT, 0x1234, Pool, 0, 0);
    KitExpectStop(DoLock, NULL, MEMORY_MANAGEMENT, 0x1234, 0, 0, 0);
    KitExpectStop(DoLockByHandle, &Local, MEMORY_MANAGEMENT, 0x1234, &Local, 0, 0);
    KitExpectStop(RaisedLock, At("PagedBytes"), DRIVER_VERIFIER_DETECTED_VIOLATION, 0xE5, DISPATCH_LEVEL, 0, 0);
    /* a discarded section is no section any more, and its code is gone */
    PUCHAR Init = At("OnceOnly");
    KitExpectStop(DoLock, Init, MEMORY_MANAGEMENT, 0x1234, Init, 0, 0);
    KitExpectStop(CallInit, NULL, PAGE_FAULT_IN_NONPAGED_AREA, Init, 0x10, Init, 0);
    ExFreePoolWithTag(Pool, 'tseT');
    KitAssertValid();
}

/* A source driver's code is the program's: never paged. Locking it is accepted and counted. */
static void HostCode_IsCountedOnly(void **State)
{
    (void)State;
    PVOID Handle = MmLockPagableCodeSection(DoUnlock);
    assert_non_null(Handle);
    MmLockPagableSectionByHandle(Handle);
    MmUnlockPagableImageSection(Handle);
    MmUnlockPagableImageSection(Handle);
    KitExpectStop(DoUnlock, Handle, MEMORY_MANAGEMENT, 0x1010, Handle, 0, 0);
    PUCHAR Base = MmPageEntireDriver((PVOID)(ULONG_PTR)DoUnlock);
    assert_non_null(Base);
    assert_memory_equal(Base, "\177ELF", 4);
    MmResetDriverPaging((PVOID)(ULONG_PTR)DoUnlock);
    assert_null(MmPageEntireDriver((PVOID)16));
}

#define TEST(Name) cmocka_unit_test_setup_teardown(Name, Load, Unload)
static void ProtectIn(void *Address)
{
    (void)MmProtectDriverSection(Address, 0, 0);
}
/* MmProtectDriverSection: "STATUS_INVALID_DEVICE_STATE: Virtual Secure Mode is currently disabled"; "an invalid flags bitmask (or a non-zero
 * size)"; "an address that does not belong to any loaded driver image ... MEMORY_MANAGEMENT bugcheck (type 0x1100)". */
static void MmProtectDriverSection_NoSecureMode(void **State)
{
    (void)State;
    assert_int_equal(MmProtectDriverSection(At("ResidentWord"), 0, MM_PROTECT_DRIVER_SECTION_ALLOW_UNLOAD),
                     STATUS_INVALID_DEVICE_STATE);
    assert_int_equal(MmProtectDriverSection(At("ResidentWord"), 1, 0), STATUS_INVALID_PARAMETER);
    assert_int_equal(MmProtectDriverSection(At("ResidentWord"), 0, 2), STATUS_INVALID_PARAMETER);
    PVOID Block = ExAllocatePool2(POOL_FLAG_NON_PAGED, 16, 'tseT');
    KitExpectStop(ProtectIn, Block, MEMORY_MANAGEMENT, 0x1100, Block, 0, 0);
    ExFreePoolWithTag(Block, 'tseT');
}

/* MmGetSystemRoutineAddressEx: "the address of the specified function in the specified system module"; NULL: "not in the loaded module
 * list", "the kernel or the HAL", "cannot be located". */
static void MmGetSystemRoutineAddressEx_ByModule(void **State)
{
    UNICODE_STRING Module = RTL_CONSTANT_STRING(L"Pageable.sys"), Kernel = RTL_CONSTANT_STRING(L"ntoskrnl.exe"),
                   None = RTL_CONSTANT_STRING(L"other.sys");
    (void)State;
    assert_ptr_equal(MmGetSystemRoutineAddressEx(&Module, (PSTR) "Triple"), At("Triple"));
    assert_null(MmGetSystemRoutineAddressEx(&Module, (PSTR) "Quadruple"));
    assert_null(MmGetSystemRoutineAddressEx(&None, (PSTR) "Triple"));
    assert_null(MmGetSystemRoutineAddressEx(&Kernel, (PSTR) "ExAllocatePool2"));
}

int main(void)
{
    const struct CMUnitTest Tests[] = {
        TEST(Sections_ByNameAndOnlyThese_ArePageable),
        TEST(Section_LeavesAndComesBackWithItsContents),
        TEST(Lock_ByCount_KeepsTheSectionResident),
        TEST(Lock_ResidentSection_StaysResident),
        TEST(PageEntireDriver_AndReset),
        TEST(Raised_NotResident_Is0xD1ByTheDriver),
        TEST(Raised_ForcedChecking_CatchesWhatIsResident),
        TEST(Misuse_FiveNumbers),
        TEST(HostCode_IsCountedOnly),
        TEST(MmProtectDriverSection_NoSecureMode),
        TEST(MmGetSystemRoutineAddressEx_ByModule),
    };
    return cmocka_run_group_tests(Tests, Start, KitStop);
}
