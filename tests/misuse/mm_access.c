/*
 * mm_access.c - every sin of access, committed for real: 0x0A 0xD1 0x50 0xBE 0xFC with all five numbers.
 * SPDX-License-Identifier: MIT
 */
#include "mm_kit.h"
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

static void PageableAtDispatch_IsD1(void **State)
{
    (void)State;
    PUCHAR Va = MmAllocatePages(MmRegionPagedPool, 1, 0, NormalPoolPriority);
    KitExpectAccessStop(Va + 3, DISPATCH_LEVEL, 'r', DRIVER_IRQL_NOT_LESS_OR_EQUAL, Va + 3, DISPATCH_LEVEL, 0, KitLoad);
    KitExpectAccessStop(Va + 3, DISPATCH_LEVEL, 'w', DRIVER_IRQL_NOT_LESS_OR_EQUAL, Va + 3, DISPATCH_LEVEL, 1, KitStore);
    KitExpectAccessStop(Va, HIGH_LEVEL, 'w', DRIVER_IRQL_NOT_LESS_OR_EQUAL, Va, HIGH_LEVEL, 1, KitStore);
    KitExpectAccessStop(Va, DISPATCH_LEVEL, 'x', DRIVER_IRQL_NOT_LESS_OR_EQUAL, Va, DISPATCH_LEVEL, 8, Va);
    Va[3] = 1; /* at PASSIVE_LEVEL it is an ordinary page */
    MmFreePages(Va, 1);
    KitAssertValid();
}

static void NullAtDispatch_IsD1(void **State)
{
    (void)State;
    KitExpectAccessStop((PVOID)0x10, DISPATCH_LEVEL, 'r', DRIVER_IRQL_NOT_LESS_OR_EQUAL, 0x10, DISPATCH_LEVEL, 0, KitLoad);
}

static void Library_SetEvent(void *Argument)
{
    KIRQL Old;
    KeRaiseIrql(DISPATCH_LEVEL, &Old);
    KeSetEvent(Argument, 0, FALSE);
    KeLowerIrql(Old);
}
static void LibraryOnPageableAtDispatch_Is0A(void **State)
{
    ntmm_bugcheck Stop;
    (void)State;
    PUCHAR Va = MmAllocatePages(MmRegionPagedPool, 1, 0, NormalPoolPriority);
    assert_true(ntmm_catch(Library_SetEvent, Va, &Stop)); /* a pageable KEVENT */
    assert_int_equal(Stop.code, IRQL_NOT_LESS_OR_EQUAL);
    assert_in_range(Stop.parameters[0], (ULONG_PTR)Va, (ULONG_PTR)Va + sizeof(KEVENT) - 1);
    assert_int_equal(Stop.parameters[1], DISPATCH_LEVEL);
    assert_true(Stop.parameters[2] <= 1);
    assert_true(Stop.parameters[3] != 0 && !HalIsSystemAddress(Stop.parameters[3]));
    MmFreePages(Va, 1);
}

static void FreedSystemMemory_Is50(void **State)
{
    (void)State;
    PUCHAR Va = MmAllocatePages(MmRegionNonPagedPool, 1, MM_PAGES_EXECUTE, NormalPoolPriority);
    Va[0] = 0xC3;
    MmFreePages(Va, 1);
    KitExpectAccessStop(Va, PASSIVE_LEVEL, 'r', PAGE_FAULT_IN_NONPAGED_AREA, Va, 0, KitLoad, 0);
    KitExpectAccessStop(Va, APC_LEVEL, 'w', PAGE_FAULT_IN_NONPAGED_AREA, Va, 2, KitStore, 0);
    KitExpectAccessStop(Va, PASSIVE_LEVEL, 'x', PAGE_FAULT_IN_NONPAGED_AREA, Va, 0x10, Va, 0);
    KitExpectAccessStop(Va, DISPATCH_LEVEL, 'r', DRIVER_IRQL_NOT_LESS_OR_EQUAL, Va, DISPATCH_LEVEL, 0, KitLoad);
}

static void WildSystemPointer_Is50Type2(void **State)
{
    (void)State;
    PUCHAR Wild = (PUCHAR)HalFacts.SystemEnd - 64;
    KitExpectAccessStop(Wild, PASSIVE_LEVEL, 'w', PAGE_FAULT_IN_NONPAGED_AREA, Wild, 2, KitStore, 2);
}

static void KernelStackGuard_Is50(void **State)
{
    (void)State;
    PUCHAR Stack = MmAllocatePages(MmRegionKernelStacks, 4, MM_PAGES_PINNED, NormalPoolPriority);
    KitExpectAccessStop(Stack - 8, PASSIVE_LEVEL, 'w', PAGE_FAULT_IN_NONPAGED_AREA, Stack - 8, 2, KitStore, 0);
    MmFreePages(Stack, 4);
}

static void ReadOnly_Write_IsBE(void **State)
{
    (void)State;
    PUCHAR Va = MmAllocatePages(MmRegionNonPagedPool, 1, 0, NormalPoolPriority);
    Va[0] = 5;
    assert_int_equal(MmProtectPages(Va, 1, PAGE_READONLY), STATUS_SUCCESS);
    MMPTE Pte = MiReadPte(MiPteOf((ULONG_PTR)Va));
    KitExpectAccessStop(Va + 9, PASSIVE_LEVEL, 'w', ATTEMPTED_WRITE_TO_READONLY_MEMORY, Va + 9, Pte.Long, 0, 0);
    KitExpectAccessStop(Va + 9, DISPATCH_LEVEL, 'w', ATTEMPTED_WRITE_TO_READONLY_MEMORY, Va + 9, Pte.Long, 0, 0);
    assert_int_equal(KitLoad(Va), 5);
    MmFreePages(Va, 1);
}

static void OwnConstants_Write_IsBE(void **State)
{
    static const char Text[] = "constant";
    (void)State;
    KitExpectAccessStop((PVOID)(ULONG_PTR)Text, PASSIVE_LEVEL, 'w', ATTEMPTED_WRITE_TO_READONLY_MEMORY, Text, 0, 0, 0);
}

/* Constants that the host has not brought into memory are constants too. */
static void OwnConstants_WriteWhileAbsent_IsBE(void **State)
{
    (void)State;
    int File = open("/proc/self/exe", O_RDONLY);
    PUCHAR Page = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, File, 0);
    assert_true(File >= 0 && Page != MAP_FAILED);
    KitExpectAccessStop(Page, PASSIVE_LEVEL, 'w', ATTEMPTED_WRITE_TO_READONLY_MEMORY, Page, 0, 0, 0);
    munmap(Page, 4096);
    close(File);
}

static void NxPool_Execute_IsFC(void **State)
{
    (void)State;
    PUCHAR Va = MmAllocatePages(MmRegionNonPagedPool, 1, 0, NormalPoolPriority);
    Va[0] = 0xC3;
    MMPTE Pte = MiReadPte(MiPteOf((ULONG_PTR)Va));
    KitExpectAccessStop(Va, PASSIVE_LEVEL, 'x', ATTEMPTED_EXECUTE_OF_NOEXECUTE_MEMORY, Va, Pte.Long, 0, 0);
    KitExpectAccessStop(Va, DISPATCH_LEVEL, 'x', ATTEMPTED_EXECUTE_OF_NOEXECUTE_MEMORY, Va, Pte.Long, 0, 0);
    MmFreePages(Va, 1);
    Va = MmAllocatePages(MmRegionNonPagedPool, 1, MM_PAGES_EXECUTE, NormalPoolPriority);
    Va[0] = 0xC3;
    ((void (*)(void))(ULONG_PTR)Va)(); /* asked for: executes */
    MmFreePages(Va, 1);
}

static void OwnData_Execute_IsFC(void **State)
{
    static unsigned char Data[64] = {0xC3};
    (void)State;
    KitExpectAccessStop(Data, PASSIVE_LEVEL, 'x', ATTEMPTED_EXECUTE_OF_NOEXECUTE_MEMORY, Data, 0, 0, 0);
}

static void UserMemory_BadAccess_IsAnException(void **State)
{
    PUCHAR volatile Va = MmAllocateUserPages(1, PAGE_READONLY);
    NTSTATUS volatile Status = STATUS_SUCCESS;
    (void)State;
    __try {
        KitStore(Va, 1);
    } __except (EXCEPTION_EXECUTE_HANDLER) {
        Status = GetExceptionCode();
    }
    assert_int_equal(Status, STATUS_ACCESS_VIOLATION);
    Status = STATUS_SUCCESS;
    __try {
        (void)KitLoad(NULL);
    } __except (EXCEPTION_EXECUTE_HANDLER) {
        Status = GetExceptionCode();
    }
    assert_int_equal(Status, STATUS_ACCESS_VIOLATION);
    KitExpectAccessStop(Va + PAGE_SIZE, DISPATCH_LEVEL, 'w', DRIVER_IRQL_NOT_LESS_OR_EQUAL, Va + PAGE_SIZE, DISPATCH_LEVEL, 1,
                        KitStore);
    MmFreeUserPages(Va, 1);
}

struct PAGES {
    PUCHAR Va;
    SIZE_T Count;
};
static void FreeThem(void *Argument)
{
    struct PAGES *Pages = Argument;
    MmFreePages(Pages->Va, Pages->Count);
}
static void DecommitThem(void *Argument)
{
    struct PAGES *Pages = Argument;
    MmDecommitPages(Pages->Va, Pages->Count);
}
static void FreeingWhatIsNoRun_Is1A_5305(void **State)
{
    (void)State;
    PUCHAR Va = MmAllocatePages(MmRegionNonPagedPool, 4, 0, NormalPoolPriority);
    struct PAGES Inside = {Va + PAGE_SIZE, 3}, Short = {Va, 3}, All = {Va, 4}, Nothing = {NULL, 1};
    KitExpectStop(FreeThem, &Inside, MEMORY_MANAGEMENT, 0x5305, Va + PAGE_SIZE, 0, 0);
    KitExpectStop(FreeThem, &Short, MEMORY_MANAGEMENT, 0x5305, Va, 4 * PAGE_SIZE, 0);
    KitExpectStop(FreeThem, &Nothing, MEMORY_MANAGEMENT, 0x5305, 0, 0, 0);
    MmFreePages(Va, 4);
    KitExpectStop(FreeThem, &All, MEMORY_MANAGEMENT, 0x5305, Va, 0, 0);
    KitExpectStop(DecommitThem, &All, MEMORY_MANAGEMENT, 0x5305, Va, 4 * PAGE_SIZE, 0);
    KitAssertValid();
}

int main(void)
{
#define TEST(Name) cmocka_unit_test(Name)
    const struct CMUnitTest Tests[] = {
        TEST(PageableAtDispatch_IsD1),      TEST(NullAtDispatch_IsD1),         TEST(LibraryOnPageableAtDispatch_Is0A),
        TEST(FreedSystemMemory_Is50),       TEST(WildSystemPointer_Is50Type2), TEST(KernelStackGuard_Is50),
        TEST(ReadOnly_Write_IsBE),          TEST(OwnConstants_Write_IsBE),     TEST(OwnConstants_WriteWhileAbsent_IsBE),
        TEST(NxPool_Execute_IsFC),          TEST(OwnData_Execute_IsFC),        TEST(UserMemory_BadAccess_IsAnException),
        TEST(FreeingWhatIsNoRun_Is1A_5305),
    };
    return cmocka_run_group_tests_name("mm_access", Tests, KitStart, KitStop);
}
