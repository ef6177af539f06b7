/*
 * ZwAllocateVirtualMemory.c - the services for virtual memory, a test per documented sentence and per bad argument.
 * SPDX-License-Identifier: MIT
 *
 * Pages: ZwAllocateVirtualMemory, NtAllocateVirtualMemory, ZwAllocateVirtualMemoryEx, ZwFreeVirtualMemory, ZwQueryVirtualMemory,
 * VirtualProtect and VirtualLock for what the undocumented services do. Every test runs twice: for the current process, and for
 * another by its handle.
 */
#include "mm_kit.h"
#include "ps/psp.h"

static HANDLE Who; /* whose memory */
static KPROCESS *Other;
static HANDLE OtherHandle;
static BOOLEAN Remote;

static NTSTATUS Allocate(PVOID *Base, SIZE_T *Size, ULONG Type, ULONG Protect)
{
    return ZwAllocateVirtualMemory(Who, Base, 0, Size, Type, Protect);
}
static PUCHAR Take(SIZE_T Size, ULONG Type, ULONG Protect)
{
    PVOID Base = NULL;
    assert_int_equal(Allocate(&Base, &Size, Type, Protect), STATUS_SUCCESS);
    return Base;
}
static void Release(PVOID Base)
{
    SIZE_T Size = 0;
    assert_int_equal(ZwFreeVirtualMemory(Who, &Base, &Size, MEM_RELEASE), STATUS_SUCCESS);
}
static MEMORY_BASIC_INFORMATION Ask(PVOID Va)
{
    MEMORY_BASIC_INFORMATION Info;
    SIZE_T Returned;
    assert_int_equal(ZwQueryVirtualMemory(Who, Va, MemoryBasicInformation, &Info, sizeof Info, &Returned), STATUS_SUCCESS);
    assert_int_equal(Returned, sizeof Info);
    return Info;
}
/* An access in the process. */
static NTSTATUS Touch(PUCHAR Va, char Kind)
{
    KAPC_STATE Apc;
    KeStackAttachProcess(Remote ? Other : PsInitialSystemProcess, &Apc);
    NTSTATUS Status = KitExceptionOf(Va, Kind);
    KeUnstackDetachProcess(&Apc);
    return Status;
}
static NTSTATUS Protect(PVOID Base, SIZE_T Size, ULONG New, PULONG Old)
{
    return ZwProtectVirtualMemory(Who, &Base, &Size, New, Old);
}

/* "The actual number of bytes ... rounded up to the next host page size boundary", "rounded down to 64 KB" */
static void Allocate_RoundsBaseAndSize(void **State)
{
    (void)State;
    PVOID Base = NULL;
    SIZE_T Size = 5000;
    assert_int_equal(Allocate(&Base, &Size, MEM_RESERVE, PAGE_READWRITE), STATUS_SUCCESS);
    assert_int_equal((ULONG_PTR)Base % 0x10000, 0);
    assert_int_equal(Size, 2 * PAGE_SIZE);
    PUCHAR First = Base;
    Release(Base);
    Base = First + 0x1234;
    Size = 1;
    assert_int_equal(Allocate(&Base, &Size, MEM_RESERVE, PAGE_READWRITE), STATUS_SUCCESS);
    assert_ptr_equal(Base, First);
    assert_int_equal(Size, 2 * PAGE_SIZE); /* up to the byte asked for */
    Base = First + PAGE_SIZE - 1;
    Size = 2;
    assert_int_equal(Allocate(&Base, &Size, MEM_COMMIT, PAGE_READWRITE), STATUS_SUCCESS);
    assert_ptr_equal(Base, First);
    assert_int_equal(Size, 2 * PAGE_SIZE);
    Release(First);
}

static void Commit_GivesZeroes_ReservedFaults(void **State)
{
    (void)State;
    PUCHAR Va = Take(16 * PAGE_SIZE, MEM_RESERVE, PAGE_READWRITE);
    assert_int_equal(Touch(Va, 'r'), STATUS_ACCESS_VIOLATION);
    PVOID Base = Va + 4 * PAGE_SIZE;
    SIZE_T Size = 2 * PAGE_SIZE;
    assert_int_equal(Allocate(&Base, &Size, MEM_COMMIT, PAGE_READWRITE), STATUS_SUCCESS);
    assert_int_equal(Touch(Va + 4 * PAGE_SIZE, 'w'), STATUS_SUCCESS);
    assert_int_equal(Touch(Va + 6 * PAGE_SIZE, 'r'), STATUS_ACCESS_VIOLATION);
    UCHAR Bytes[64];
    memset(Bytes, 1, sizeof Bytes);
    assert_int_equal(MmCopyFromManaged(Bytes, Va + 5 * PAGE_SIZE, sizeof Bytes), STATUS_SUCCESS);
    for (ULONG i = 0; i < sizeof Bytes; i++)
        assert_int_equal(Bytes[i], 0);
    Release(Va);
    assert_int_equal(Touch(Va + 4 * PAGE_SIZE, 'r'), STATUS_ACCESS_VIOLATION);
}

/* MEM_COMMIT: "An attempt to commit an already committed page does not cause the function to fail" */
static void Commit_Again_Succeeds(void **State)
{
    (void)State;
    PUCHAR Va = Take(4 * PAGE_SIZE, MEM_RESERVE, PAGE_READWRITE);
    PVOID Base = Va + PAGE_SIZE;
    SIZE_T Size = PAGE_SIZE;
    assert_int_equal(Allocate(&Base, &Size, MEM_COMMIT, PAGE_READWRITE), STATUS_SUCCESS);
    assert_int_equal(MmCopyToManaged(Va + PAGE_SIZE, "kept", 5), STATUS_SUCCESS);
    Base = Va;
    Size = 4 * PAGE_SIZE;
    assert_int_equal(Allocate(&Base, &Size, MEM_COMMIT, PAGE_READONLY), STATUS_SUCCESS);
    CHAR Text[5];
    assert_int_equal(MmCopyFromManaged(Text, Va + PAGE_SIZE, 5), STATUS_SUCCESS);
    assert_string_equal(Text, "kept");
    assert_int_equal(Ask(Va).RegionSize, 4 * PAGE_SIZE);
    assert_int_equal(Ask(Va).Protect, PAGE_READONLY);
    assert_int_equal(Ask(Va).AllocationProtect, PAGE_READWRITE);
    Release(Va);
}

static void Allocate_BadArguments(void **State)
{
    (void)State;
    static const struct {
        ULONG Type, Protect;
        NTSTATUS Status;
    } Bad[] = {
        {0, PAGE_READWRITE, STATUS_INVALID_PARAMETER_5},
        {MEM_TOP_DOWN, PAGE_READWRITE, STATUS_INVALID_PARAMETER_5},
        {MEM_RESERVE | 0x40, PAGE_READWRITE, STATUS_INVALID_PARAMETER_5},
        {MEM_RESET | MEM_COMMIT, PAGE_READWRITE, STATUS_INVALID_PARAMETER_5},
        {MEM_RESET | MEM_TOP_DOWN, PAGE_READWRITE, STATUS_INVALID_PARAMETER_5},
        {MEM_LARGE_PAGES | MEM_RESERVE, PAGE_READWRITE, STATUS_INVALID_PARAMETER_5},
        {MEM_PHYSICAL | MEM_COMMIT, PAGE_READWRITE, STATUS_INVALID_PARAMETER_5},
        {MEM_COMMIT, 0, STATUS_INVALID_PAGE_PROTECTION},
        {MEM_COMMIT, PAGE_READONLY | PAGE_READWRITE, STATUS_INVALID_PAGE_PROTECTION},
        {MEM_COMMIT, PAGE_WRITECOPY, STATUS_INVALID_PAGE_PROTECTION},
        {MEM_COMMIT, PAGE_EXECUTE_WRITECOPY, STATUS_INVALID_PAGE_PROTECTION},
        {MEM_COMMIT, PAGE_NOACCESS | PAGE_GUARD, STATUS_INVALID_PAGE_PROTECTION},
        {MEM_COMMIT, PAGE_READWRITE | PAGE_GUARD | PAGE_NOCACHE, STATUS_INVALID_PAGE_PROTECTION},
        {MEM_WRITE_WATCH | MEM_RESET, PAGE_READWRITE, STATUS_INVALID_PARAMETER_5},
        {MEM_RESERVE | MEM_RESERVE_PLACEHOLDER, PAGE_NOACCESS, STATUS_INVALID_PARAMETER_5},
        {MEM_RESERVE | MEM_REPLACE_PLACEHOLDER, PAGE_READWRITE, STATUS_INVALID_PARAMETER_5},
        {MEM_RESERVE | MEM_PHYSICAL, PAGE_READWRITE, STATUS_NOT_SUPPORTED},
    };
    PVOID Base = NULL;
    SIZE_T Size = PAGE_SIZE;
    for (ULONG i = 0; i < ARRAYSIZE(Bad); i++) {
        assert_int_equal(Allocate(&Base, &Size, Bad[i].Type, Bad[i].Protect), Bad[i].Status);
        assert_null(Base);
    }
    Size = 0;
    assert_int_equal(Allocate(&Base, &Size, MEM_RESERVE, PAGE_READWRITE), STATUS_INVALID_PARAMETER_4);
    Size = ~(SIZE_T)0;
    assert_int_equal(Allocate(&Base, &Size, MEM_RESERVE, PAGE_READWRITE), STATUS_INVALID_PARAMETER_4);
    Base = MmSystemRangeStart;
    Size = PAGE_SIZE;
    assert_int_equal(Allocate(&Base, &Size, MEM_RESERVE, PAGE_READWRITE), STATUS_INVALID_PARAMETER_2);
    Base = (PUCHAR)MmHighestUserAddress - PAGE_SIZE + 1;
    Size = 2 * PAGE_SIZE;
    assert_int_equal(Allocate(&Base, &Size, MEM_RESERVE, PAGE_READWRITE), STATUS_INVALID_PARAMETER_4);
    Base = NULL;
    Size = PAGE_SIZE;
    for (ULONG Bits = 22; Bits < 32; Bits++)
        assert_int_equal(ZwAllocateVirtualMemory(Who, &Base, Bits, &Size, MEM_RESERVE, PAGE_READWRITE),
                         STATUS_INVALID_PARAMETER_3);
    assert_int_equal(ZwAllocateVirtualMemory(Who, &Base, 1, &Size, MEM_RESERVE, PAGE_READWRITE), STATUS_NO_MEMORY);
    assert_int_equal(ZwAllocateVirtualMemory((HANDLE)0x7770, &Base, 0, &Size, MEM_RESERVE, PAGE_READWRITE),
                     STATUS_INVALID_HANDLE);
    assert_int_equal(ZwAllocateVirtualMemory(NtCurrentThread(), &Base, 0, &Size, MEM_RESERVE, PAGE_READWRITE),
                     STATUS_OBJECT_TYPE_MISMATCH);
    Size = MiState->SliceBytes; /* more than a slice has between its edges */
    assert_int_equal(Allocate(&Base, &Size, MEM_RESERVE, PAGE_READWRITE), STATUS_NO_MEMORY);
}

static void Allocate_ZeroBitsMask_BoundsTheAddress(void **State)
{
    (void)State;
    PVOID Base = NULL;
    SIZE_T Size = PAGE_SIZE;
    assert_int_equal(ZwAllocateVirtualMemory(Who, &Base, 0x7FFFFFFFFFFF, &Size, MEM_RESERVE, PAGE_READWRITE), STATUS_SUCCESS);
    Release(Base);
}

static void Allocate_Conflicts(void **State)
{
    (void)State;
    PUCHAR Va = Take(0x20000, MEM_RESERVE, PAGE_READWRITE);
    PVOID Base = Va + 0x10000;
    SIZE_T Size = 0x20000;
    assert_int_equal(Allocate(&Base, &Size, MEM_RESERVE, PAGE_READWRITE), STATUS_CONFLICTING_ADDRESSES);
    assert_int_equal(Allocate(&Base, &Size, MEM_COMMIT, PAGE_READWRITE),
                     STATUS_CONFLICTING_ADDRESSES); /* not all is reserved */
    Release(Va);
    Base = Va;
    Size = PAGE_SIZE;
    assert_int_equal(Allocate(&Base, &Size, MEM_COMMIT, PAGE_READWRITE), STATUS_CONFLICTING_ADDRESSES);
    /* an address of another process's slice */
    MM_SPACE_INFO Info;
    MmQuerySpace(Remote ? PsInitialSystemProcess->Space : Other->Space, &Info);
    Base = (PVOID)(Info.Low + 0x100000);
    assert_int_equal(Allocate(&Base, &Size, MEM_RESERVE, PAGE_READWRITE), STATUS_CONFLICTING_ADDRESSES);
}

/* MEM_TOP_DOWN: "allocates memory at the highest possible address" */
static void TopDown_IsAboveEverything(void **State)
{
    (void)State;
    PUCHAR Low = Take(PAGE_SIZE, MEM_RESERVE, PAGE_READWRITE),
           High = Take(PAGE_SIZE, MEM_RESERVE | MEM_TOP_DOWN, PAGE_READWRITE);
    PUCHAR Next = Take(3 * PAGE_SIZE, MEM_RESERVE | MEM_TOP_DOWN, PAGE_READWRITE);
    assert_true(High > Next && Next > Low);
    assert_int_equal((ULONG_PTR)High % 0x10000, 0);
    Release(Low), Release(High), Release(Next);
}

static void CommitLimit_IsAnAnswer(void **State)
{
    (void)State;
    PVOID Base = NULL;
    SIZE_T Size = 1ull << 30; /* far beyond RAM */
    ULONG64 Committed = KitCommitted();
    assert_int_equal(Allocate(&Base, &Size, MEM_RESERVE | MEM_COMMIT, PAGE_READWRITE), STATUS_COMMITMENT_LIMIT);
    assert_int_equal(KitCommitted(), Committed);
}

/* ---- free ---- */
/* "If the MEM_DECOMMIT flag is set ... decommits all pages containing one or more bytes in the range" */
static void Decommit_TouchesWholePages(void **State)
{
    (void)State;
    PUCHAR Va = Take(8 * PAGE_SIZE, MEM_COMMIT, PAGE_READWRITE);
    for (ULONG i = 0; i < 8; i++)
        assert_int_equal(Touch(Va + i * PAGE_SIZE, 'w'), STATUS_SUCCESS);
    PVOID Base = Va + 2 * PAGE_SIZE - 1;
    SIZE_T Size = 2;
    assert_int_equal(ZwFreeVirtualMemory(Who, &Base, &Size, MEM_DECOMMIT), STATUS_SUCCESS);
    assert_ptr_equal(Base, Va + PAGE_SIZE);
    assert_int_equal(Size, 2 * PAGE_SIZE);
    assert_int_equal(Touch(Va, 'r'), STATUS_SUCCESS);
    assert_int_equal(Touch(Va + PAGE_SIZE, 'r'), STATUS_ACCESS_VIOLATION);
    assert_int_equal(Touch(Va + 2 * PAGE_SIZE, 'r'), STATUS_ACCESS_VIOLATION);
    assert_int_equal(Touch(Va + 3 * PAGE_SIZE, 'r'), STATUS_SUCCESS);
    assert_int_equal(ZwFreeVirtualMemory(Who, &Base, &Size, MEM_DECOMMIT), STATUS_SUCCESS); /* again */
    Base = Va;
    Size = 0; /* "decommits the entire region" */
    assert_int_equal(ZwFreeVirtualMemory(Who, &Base, &Size, MEM_DECOMMIT), STATUS_SUCCESS);
    assert_int_equal(Size, 8 * PAGE_SIZE);
    assert_int_equal(Ask(Va).State, MEM_RESERVE);
    Release(Va);
    assert_int_equal(Ask(Va).State, MEM_FREE);
}

static void Free_BadArguments(void **State)
{
    (void)State;
    PUCHAR Va = Take(4 * PAGE_SIZE, MEM_COMMIT, PAGE_READWRITE);
    PVOID Base = Va;
    SIZE_T Size = 0;
    assert_int_equal(ZwFreeVirtualMemory(Who, &Base, &Size, MEM_RELEASE | MEM_DECOMMIT), STATUS_INVALID_PARAMETER_4);
    assert_int_equal(ZwFreeVirtualMemory(Who, &Base, &Size, 0), STATUS_INVALID_PARAMETER_4);
    Base = Va + PAGE_SIZE;
    assert_int_equal(ZwFreeVirtualMemory(Who, &Base, &Size, MEM_RELEASE), STATUS_FREE_VM_NOT_AT_BASE);
    assert_int_equal(ZwFreeVirtualMemory(Who, &Base, &Size, MEM_DECOMMIT), STATUS_FREE_VM_NOT_AT_BASE);
    Size = PAGE_SIZE;
    assert_int_equal(ZwFreeVirtualMemory(Who, &Base, &Size, MEM_RELEASE), STATUS_UNABLE_TO_FREE_VM);
    Size = 8 * PAGE_SIZE;
    assert_int_equal(ZwFreeVirtualMemory(Who, &Base, &Size, MEM_DECOMMIT), STATUS_UNABLE_TO_FREE_VM);
    Base = Va + 0x200000;
    Size = 0;
    assert_int_equal(ZwFreeVirtualMemory(Who, &Base, &Size, MEM_RELEASE), STATUS_MEMORY_NOT_ALLOCATED);
    Base = MmSystemRangeStart;
    assert_int_equal(ZwFreeVirtualMemory(Who, &Base, &Size, MEM_RELEASE), STATUS_INVALID_PARAMETER_2);
    Base = Va;
    Size = ~(SIZE_T)0;
    assert_int_equal(ZwFreeVirtualMemory(Who, &Base, &Size, MEM_RELEASE), STATUS_INVALID_PARAMETER_3);
    Size = 4 * PAGE_SIZE;
    assert_int_equal(ZwFreeVirtualMemory(Who, &Base, &Size, MEM_RELEASE), STATUS_SUCCESS); /* the whole, named */
    assert_int_equal(ZwFreeVirtualMemory((HANDLE)0x7770, &Base, &Size, MEM_RELEASE), STATUS_INVALID_HANDLE);
}

/* ---- protect ---- */
static void Protect_ChangesAndTells(void **State)
{
    (void)State;
    ULONG Old = 0;
    PUCHAR Va = Take(6 * PAGE_SIZE, MEM_COMMIT, PAGE_READWRITE);
    assert_int_equal(Touch(Va + PAGE_SIZE, 'w'), STATUS_SUCCESS);
    assert_int_equal(Protect(Va + PAGE_SIZE, 2 * PAGE_SIZE, PAGE_READONLY, &Old), STATUS_SUCCESS);
    assert_int_equal(Old, PAGE_READWRITE);
    assert_int_equal(Touch(Va + PAGE_SIZE, 'r'), STATUS_SUCCESS);
    assert_int_equal(Touch(Va + PAGE_SIZE, 'w'), STATUS_ACCESS_VIOLATION);
    assert_int_equal(Touch(Va + 2 * PAGE_SIZE, 'w'), STATUS_ACCESS_VIOLATION); /* never touched before */
    assert_int_equal(Touch(Va + 3 * PAGE_SIZE, 'w'), STATUS_SUCCESS);
    assert_int_equal(Protect(Va + PAGE_SIZE, PAGE_SIZE, PAGE_NOACCESS, &Old), STATUS_SUCCESS);
    assert_int_equal(Old, PAGE_READONLY);
    assert_int_equal(Touch(Va + PAGE_SIZE, 'r'), STATUS_ACCESS_VIOLATION);
    assert_int_equal(Ask(Va + PAGE_SIZE).Protect, PAGE_NOACCESS);
    assert_int_equal(Ask(Va + PAGE_SIZE).State, MEM_COMMIT);
    assert_int_equal(Protect(Va, 6 * PAGE_SIZE, PAGE_EXECUTE_READWRITE, &Old), STATUS_SUCCESS);
    assert_int_equal(Touch(Va + PAGE_SIZE, 'w'), STATUS_SUCCESS);
    Release(Va);
}

static void Protect_BadArguments(void **State)
{
    (void)State;
    ULONG Old = 77;
    PUCHAR Va = Take(4 * PAGE_SIZE, MEM_COMMIT, PAGE_READWRITE), Reserved = Take(PAGE_SIZE, MEM_RESERVE, PAGE_READWRITE);
    assert_int_equal(Protect(Va, PAGE_SIZE, 0, &Old), STATUS_INVALID_PAGE_PROTECTION);
    assert_int_equal(Protect(Va, PAGE_SIZE, PAGE_READONLY | PAGE_EXECUTE, &Old), STATUS_INVALID_PAGE_PROTECTION);
    assert_int_equal(Protect(Va, PAGE_SIZE, PAGE_WRITECOPY, &Old), STATUS_INVALID_PAGE_PROTECTION);
    assert_int_equal(Protect(Va, 0, PAGE_READONLY, &Old), STATUS_INVALID_PARAMETER_3);
    assert_int_equal(Protect(MmSystemRangeStart, PAGE_SIZE, PAGE_READONLY, &Old), STATUS_INVALID_PARAMETER_2);
    assert_int_equal(Protect(Va + PAGE_SIZE, 4 * PAGE_SIZE, PAGE_READONLY, &Old), STATUS_CONFLICTING_ADDRESSES);
    assert_int_equal(Protect(Reserved, PAGE_SIZE, PAGE_READONLY, &Old), STATUS_NOT_COMMITTED);
    assert_int_equal(Ask(Va).RegionSize, 4 * PAGE_SIZE); /* nothing was changed */
    assert_int_equal(Ask(Va).Protect, PAGE_READWRITE);
    Release(Va), Release(Reserved);
}

/* "PAGE_GUARD ... one-shot access alarm" */
static void Guard_FiresOnce(void **State)
{
    (void)State;
    ULONG Old = 0;
    PUCHAR Va = Take(2 * PAGE_SIZE, MEM_COMMIT, PAGE_READWRITE | PAGE_GUARD);
    assert_int_equal(Ask(Va).Protect, PAGE_READWRITE | PAGE_GUARD);
    assert_int_equal(Touch(Va, 'r'), STATUS_GUARD_PAGE_VIOLATION);
    assert_int_equal(Touch(Va, 'w'), STATUS_SUCCESS);
    assert_int_equal(Ask(Va).Protect, PAGE_READWRITE);
    assert_int_equal(Ask(Va).RegionSize, PAGE_SIZE);
    assert_int_equal(Protect(Va, PAGE_SIZE, PAGE_READONLY | PAGE_GUARD, &Old), STATUS_SUCCESS);
    assert_int_equal(Touch(Va, 'w'), STATUS_GUARD_PAGE_VIOLATION);
    assert_int_equal(Touch(Va, 'w'), STATUS_ACCESS_VIOLATION);
    assert_int_equal(Touch(Va + PAGE_SIZE, 'w'), STATUS_GUARD_PAGE_VIOLATION);
    Release(Va);
}

static void LargePages_AreContiguousAligned_AndStay(void **State)
{
    (void)State;
    PVOID Base = NULL;
    SIZE_T Size = 0x200000;
    if (NTMM_SANITIZED && Allocate(&Base, &Size, MEM_RESERVE | MEM_COMMIT | MEM_LARGE_PAGES, PAGE_READWRITE) != STATUS_SUCCESS)
        skip();
    if (Base == NULL)
        assert_int_equal(Allocate(&Base, &Size, MEM_RESERVE | MEM_COMMIT | MEM_LARGE_PAGES, PAGE_READWRITE), STATUS_SUCCESS);
    PUCHAR Va = Base;
    assert_int_equal((ULONG_PTR)Va % 0x200000, 0);
    MMPTE First = MiReadPte(MiPteOf((ULONG_PTR)Va));
    assert_int_equal(MiPtePage(First) % 512, 0);
    for (ULONG i = 0; i < 512; i += 37)
        assert_int_equal(MiPtePage(MiReadPte(MiPteOf((ULONG_PTR)Va + i * PAGE_SIZE))), MiPtePage(First) + i);
    assert_int_equal(Touch(Va + 0x1FFFFF, 'w'), STATUS_SUCCESS);
    Base = Va + PAGE_SIZE;
    Size = PAGE_SIZE;
    assert_int_equal(ZwFreeVirtualMemory(Who, &Base, &Size, MEM_DECOMMIT), STATUS_UNABLE_TO_DECOMMIT_VM);
    MEMORY_WORKING_SET_EX_INFORMATION Page = {.VirtualAddress = Va + 5};
    assert_int_equal(ZwQueryVirtualMemory(Who, NULL, MemoryWorkingSetExInformation, &Page, sizeof Page, NULL), STATUS_SUCCESS);
    assert_true(Page.u1.VirtualAttributes.Valid && Page.u1.VirtualAttributes.LargePage);
    Release(Va);
    Base = NULL;
    Size = 0x1000;
    assert_int_equal(Allocate(&Base, &Size, MEM_RESERVE | MEM_COMMIT | MEM_LARGE_PAGES, PAGE_READWRITE),
                     STATUS_INVALID_PARAMETER_4);
}

static void Reset_NeedsCommittedPages(void **State)
{
    (void)State;
    PUCHAR Va = Take(4 * PAGE_SIZE, MEM_RESERVE, PAGE_READWRITE);
    PVOID Base = Va;
    SIZE_T Size = 2 * PAGE_SIZE;
    assert_int_equal(Allocate(&Base, &Size, MEM_RESET, PAGE_READWRITE), STATUS_NOT_COMMITTED);
    assert_int_equal(Allocate(&Base, &Size, MEM_COMMIT, PAGE_READWRITE), STATUS_SUCCESS);
    assert_int_equal(Allocate(&Base, &Size, MEM_RESET, PAGE_READWRITE), STATUS_SUCCESS);
    assert_int_equal(Allocate(&Base, &Size, MEM_RESET_UNDO, PAGE_READWRITE), STATUS_SUCCESS);
    Release(Va);
    assert_int_equal(Allocate(&Base, &Size, MEM_RESET, PAGE_READWRITE), STATUS_CONFLICTING_ADDRESSES);
}

/* ---- query ---- */
static void Query_DescribesRuns(void **State)
{
    (void)State;
    PUCHAR Va = Take(16 * PAGE_SIZE, MEM_RESERVE, PAGE_READWRITE);
    PVOID Base = Va + 3 * PAGE_SIZE;
    SIZE_T Size = 2 * PAGE_SIZE;
    assert_int_equal(Allocate(&Base, &Size, MEM_COMMIT, PAGE_READONLY), STATUS_SUCCESS);
    MEMORY_BASIC_INFORMATION Info = Ask(Va + 5);
    assert_ptr_equal(Info.BaseAddress, Va);
    assert_ptr_equal(Info.AllocationBase, Va);
    assert_int_equal(Info.AllocationProtect, PAGE_READWRITE);
    assert_int_equal(Info.RegionSize, 3 * PAGE_SIZE);
    assert_int_equal(Info.State, MEM_RESERVE);
    assert_int_equal(Info.Protect, 0);
    assert_int_equal(Info.Type, MEM_PRIVATE);
    Info = Ask(Va + 4 * PAGE_SIZE);
    assert_ptr_equal(Info.BaseAddress, Va + 4 * PAGE_SIZE);
    assert_int_equal(Info.RegionSize, PAGE_SIZE);
    assert_int_equal(Info.State, MEM_COMMIT);
    assert_int_equal(Info.Protect, PAGE_READONLY);
    MEMORY_REGION_INFORMATION Region;
    assert_int_equal(ZwQueryVirtualMemory(Who, Va + 9 * PAGE_SIZE, MemoryRegionInformation, &Region, sizeof Region, NULL),
                     STATUS_SUCCESS);
    assert_ptr_equal(Region.AllocationBase, Va);
    assert_int_equal(Region.RegionSize, 16 * PAGE_SIZE);
    assert_int_equal(Region.CommitSize, 2 * PAGE_SIZE);
    assert_true(Region.Private);
    Release(Va);
    Info = Ask(Va);
    assert_int_equal(Info.State, MEM_FREE);
    assert_int_equal(Info.Protect, PAGE_NOACCESS);
    assert_int_equal(Info.Type, 0);
    assert_null(Info.AllocationBase);
    Info = Ask((PVOID)0x10000); /* below every slice */
    assert_int_equal(Info.State, MEM_FREE);
    assert_int_equal(ZwQueryVirtualMemory(Who, Va, MemoryRegionInformation, &Region, sizeof Region, NULL),
                     STATUS_INVALID_ADDRESS);
}

static void Query_BadArguments(void **State)
{
    (void)State;
    MEMORY_BASIC_INFORMATION Info;
    assert_int_equal(ZwQueryVirtualMemory(Who, NULL, MemoryBasicInformation, &Info, sizeof Info - 1, NULL),
                     STATUS_INFO_LENGTH_MISMATCH);
    assert_int_equal(ZwQueryVirtualMemory(Who, NULL, (MEMORY_INFORMATION_CLASS)99, &Info, sizeof Info, NULL),
                     STATUS_INVALID_INFO_CLASS);
    assert_int_equal(ZwQueryVirtualMemory(Who, MmSystemRangeStart, MemoryBasicInformation, &Info, sizeof Info, NULL),
                     STATUS_INVALID_PARAMETER);
    assert_int_equal(ZwQueryVirtualMemory((HANDLE)0x7770, NULL, MemoryBasicInformation, &Info, sizeof Info, NULL),
                     STATUS_INVALID_HANDLE);
}

/* ---- lock ---- */
static void Lock_KeepsPages(void **State)
{
    (void)State;
    PUCHAR Va = Take(4 * PAGE_SIZE, MEM_COMMIT, PAGE_READWRITE);
    PVOID Base = Va + PAGE_SIZE;
    SIZE_T Size = 2 * PAGE_SIZE;
    MEMORY_WORKING_SET_EX_INFORMATION Pages[2] = {{.VirtualAddress = Va}, {.VirtualAddress = Va + PAGE_SIZE}};
    assert_int_equal(ZwUnlockVirtualMemory(Who, &Base, &Size, MAP_PROCESS), STATUS_NOT_LOCKED);
    assert_int_equal(ZwLockVirtualMemory(Who, &Base, &Size, MAP_PROCESS), STATUS_SUCCESS);
    assert_int_equal(ZwLockVirtualMemory(Who, &Base, &Size, MAP_PROCESS), STATUS_WAS_LOCKED);
    assert_int_equal(ZwLockVirtualMemory(Who, &Base, &Size, MAP_SYSTEM), STATUS_SUCCESS);
    assert_int_equal(ZwQueryVirtualMemory(Who, NULL, MemoryWorkingSetExInformation, Pages, sizeof Pages, NULL), STATUS_SUCCESS);
    assert_false(Pages[0].u1.VirtualAttributes.Locked);
    assert_true(Pages[1].u1.VirtualAttributes.Valid && Pages[1].u1.VirtualAttributes.Locked);
    assert_int_equal(Pages[1].u1.VirtualAttributes.Win32Protection, PAGE_READWRITE);
    assert_int_equal(ZwUnlockVirtualMemory(Who, &Base, &Size, MAP_PROCESS), STATUS_SUCCESS);
    assert_int_equal(ZwUnlockVirtualMemory(Who, &Base, &Size, MAP_PROCESS), STATUS_NOT_LOCKED);
    assert_int_equal(ZwUnlockVirtualMemory(Who, &Base, &Size, MAP_SYSTEM), STATUS_SUCCESS);
    assert_int_equal(ZwLockVirtualMemory(Who, &Base, &Size, 0), STATUS_INVALID_PARAMETER_4);
    assert_int_equal(ZwLockVirtualMemory(Who, &Base, &Size, 4), STATUS_INVALID_PARAMETER_4);
    Base = Va;
    Size = 5 * PAGE_SIZE;
    assert_int_equal(ZwLockVirtualMemory(Who, &Base, &Size, MAP_PROCESS), STATUS_ACCESS_VIOLATION);
    Size = 4 * PAGE_SIZE;
    assert_int_equal(ZwLockVirtualMemory(Who, &Base, &Size, MAP_PROCESS), STATUS_SUCCESS);
    Release(Va); /* unlocks */
    assert_int_equal(MiState->LockedVirtualPages, 0);
    Size = 40u << 20; /* more than half of RAM */
    Va = Take(Size, MEM_COMMIT, PAGE_READWRITE);
    Base = Va;
    assert_int_equal(ZwLockVirtualMemory(Who, &Base, &Size, MAP_PROCESS), STATUS_WORKING_SET_QUOTA);
    Release(Va);
}

/* ---- Ex ---- */
static NTSTATUS AllocateEx(PVOID *Base, MEM_ADDRESS_REQUIREMENTS *Wanted)
{
    MEM_EXTENDED_PARAMETER Parameter = {.Type = MemExtendedParameterAddressRequirements, .Pointer = Wanted};
    SIZE_T Size = PAGE_SIZE;
    return ZwAllocateVirtualMemoryEx(Who, Base, &Size, MEM_RESERVE, PAGE_READWRITE, &Parameter, 1);
}
static void Ex_AddressRequirements(void **State)
{
    (void)State;
    MM_SPACE_INFO Info;
    PVOID Base = NULL;
    MmQuerySpace(Remote ? Other->Space : PsInitialSystemProcess->Space, &Info);
    MEM_ADDRESS_REQUIREMENTS Wanted = {.Alignment = 0x1000000};
    assert_int_equal(AllocateEx(&Base, &Wanted), STATUS_SUCCESS);
    assert_int_equal((ULONG_PTR)Base % 0x1000000, 0);
    assert_int_equal(AllocateEx(&Base, &Wanted), STATUS_INVALID_PARAMETER); /* with a base */
    Release(Base);
    Base = NULL;
    Wanted = (MEM_ADDRESS_REQUIREMENTS){(PVOID)(Info.Low + 0x10000000), (PVOID)(Info.Low + 0x10010FFF), 0};
    assert_int_equal(AllocateEx(&Base, &Wanted), STATUS_SUCCESS);
    assert_ptr_equal(Base, Wanted.LowestStartingAddress);
    PVOID Second = NULL, Third = NULL;
    assert_int_equal(AllocateEx(&Second, &Wanted), STATUS_SUCCESS);
    assert_int_equal(AllocateEx(&Third, &Wanted), STATUS_NO_MEMORY);
    Release(Base), Release(Second);
    Wanted = (MEM_ADDRESS_REQUIREMENTS){NULL, NULL, 0x18000};
    assert_int_equal(AllocateEx(&Third, &Wanted), STATUS_INVALID_PARAMETER);
    Wanted = (MEM_ADDRESS_REQUIREMENTS){(PVOID)(Info.Low + 0x1000), NULL, 0};
    assert_int_equal(AllocateEx(&Third, &Wanted), STATUS_INVALID_PARAMETER);
    Wanted = (MEM_ADDRESS_REQUIREMENTS){NULL, (PVOID)(Info.Low + 0x20000), 0};
    assert_int_equal(AllocateEx(&Third, &Wanted), STATUS_INVALID_PARAMETER);
    SIZE_T Size = PAGE_SIZE;
    MEM_EXTENDED_PARAMETER Two[2] = {{.Type = MemExtendedParameterNumaNode, .ULong = 0},
                                     {.Type = MemExtendedParameterNumaNode, .ULong = 0}};
    assert_int_equal(ZwAllocateVirtualMemoryEx(Who, &Third, &Size, MEM_RESERVE, PAGE_READWRITE, Two, 2),
                     STATUS_INVALID_PARAMETER);
    assert_int_equal(ZwAllocateVirtualMemoryEx(Who, &Third, &Size, MEM_RESERVE, PAGE_READWRITE, NULL, 1),
                     STATUS_INVALID_PARAMETER);
    assert_int_equal(ZwAllocateVirtualMemoryEx(Who, &Third, &Size, MEM_RESERVE, PAGE_READWRITE, Two, 1), STATUS_SUCCESS);
    Release(Third);
}

static void Prefetch_BringsPagesIn(void **State)
{
    (void)State;
    PUCHAR Va = Take(4 * PAGE_SIZE, MEM_COMMIT, PAGE_READWRITE);
    ULONG Flags = 0;
    MEMORY_RANGE_ENTRY Range = {Va + 10, 2 * PAGE_SIZE};
    assert_int_equal(ZwSetInformationVirtualMemory(Who, VmPrefetchInformation, 1, &Range, &Flags, sizeof Flags),
                     STATUS_SUCCESS);
    for (ULONG i = 0; i < 4; i++)
        assert_int_equal(MiPteIsValid(MiReadPte(MiPteOf((ULONG_PTR)Va + i * PAGE_SIZE))), i < 3);
    assert_int_equal(ZwSetInformationVirtualMemory(Who, VmPrefetchInformation, 0, &Range, &Flags, sizeof Flags),
                     STATUS_INVALID_PARAMETER_3);
    assert_int_equal(ZwSetInformationVirtualMemory(Who, VmPrefetchInformation, 1, &Range, &Flags, 3),
                     STATUS_INVALID_PARAMETER_6);
    Flags = 1;
    assert_int_equal(ZwSetInformationVirtualMemory(Who, VmPrefetchInformation, 1, &Range, &Flags, sizeof Flags),
                     STATUS_INVALID_PARAMETER_5);
    assert_int_equal(ZwSetInformationVirtualMemory(Who, VmCfgCallTargetInformation, 1, &Range, &Flags, sizeof Flags),
                     STATUS_INVALID_PARAMETER_2);
    Release(Va);
}

static void AtDispatch(void *Argument)
{
    PVOID Base = NULL;
    SIZE_T Size = PAGE_SIZE;
    KIRQL Old;
    (void)Argument;
    KeRaiseIrql(APC_LEVEL, &Old);
    (void)Allocate(&Base, &Size, MEM_RESERVE, PAGE_READWRITE);
}
static void AboveCallersIrql_IsC4(void **State)
{
    (void)State;
    KitExpectStop(AtDispatch, NULL, DRIVER_VERIFIER_DETECTED_VIOLATION, 0xE5, APC_LEVEL, 0, 0);
}

static int Here(void **State)
{
    (void)State;
    Remote = FALSE;
    Who = NtCurrentProcess();
    return 0;
}
static int There(void **State)
{
    (void)State;
    Remote = TRUE;
    Who = OtherHandle;
    return 0;
}
static int After(void **State)
{
    (void)State;
    const CHAR *Broken = MiValidateAll();
    if (Broken)
        print_error("%s\n", Broken);
    return Broken != NULL;
}
static int Start(void **State)
{
    if (KitStart(State) != 0 || !NT_SUCCESS(PspCreateNamedProcess("other", &Other)))
        return -1;
    return ObOpenObjectByPointer(Other, OBJ_KERNEL_HANDLE, NULL, PROCESS_ALL_ACCESS, *PsProcessType, KernelMode, &OtherHandle);
}
static int Stop(void **State)
{
    MM_SPACE_INFO Info;
    ZwClose(OtherHandle);
    MmQuerySpace(Other->Space, &Info);
    NTSTATUS Status = PspEndProcess(Other, 0);
    ObDereferenceObject(Other);
    return KitStop(State) != 0 || Status != 0 || Info.CommittedPages != 0 || Info.VirtualBytes != 0;
}

int main(void)
{
    const struct CMUnitTest Tests[] = {
#define BOTH(Test) cmocka_unit_test_setup_teardown(Test, Here, After), cmocka_unit_test_setup_teardown(Test, There, After)
        BOTH(Allocate_RoundsBaseAndSize),
        BOTH(Commit_GivesZeroes_ReservedFaults),
        BOTH(Commit_Again_Succeeds),
        BOTH(Allocate_BadArguments),
        BOTH(Allocate_ZeroBitsMask_BoundsTheAddress),
        BOTH(Allocate_Conflicts),
        BOTH(TopDown_IsAboveEverything),
        BOTH(CommitLimit_IsAnAnswer),
        BOTH(Decommit_TouchesWholePages),
        BOTH(Free_BadArguments),
        BOTH(Protect_ChangesAndTells),
        BOTH(Protect_BadArguments),
        BOTH(Guard_FiresOnce),
        BOTH(LargePages_AreContiguousAligned_AndStay),
        BOTH(Reset_NeedsCommittedPages),
        BOTH(Query_DescribesRuns),
        BOTH(Query_BadArguments),
        BOTH(Lock_KeepsPages),
        BOTH(Ex_AddressRequirements),
        BOTH(Prefetch_BringsPagesIn),
        cmocka_unit_test_setup(AboveCallersIrql_IsC4, Here),
    };
    return cmocka_run_group_tests(Tests, Start, Stop);
}
