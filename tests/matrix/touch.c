/*
 * touch.c - cases of the detection matrix: memory touched that must not be, and fast fails. SPDX-License-Identifier: MIT
 */
#include "matrix.h"

extern void Right_C2_60(void);
extern void Right_lookaside(void);

/* ---- touches ---- */
SIN(D1)
{
    PUCHAR B = Paged(4 * PAGE_SIZE);
    Raise(DISPATCH_LEVEL);
    Expect(0xD1, P(B) + PAGE_SIZE, DISPATCH_LEVEL, 0, ANY);
    Sink = *(volatile UCHAR *)(B + PAGE_SIZE);
}
RIGHT(D1)
{
    PUCHAR B = NonPaged(4 * PAGE_SIZE);
    KIRQL Old = Raise(DISPATCH_LEVEL);
    Sink = *(volatile UCHAR *)(B + PAGE_SIZE);
    KeLowerIrql(Old);
    ExFreePool(B);
    B = Paged(4 * PAGE_SIZE);
    Old = Raise(APC_LEVEL);
    memset(B, 1, 4 * PAGE_SIZE);
    KeLowerIrql(Old);
    ExFreePool(B);
}
SIN(D1_null)
{
    volatile UCHAR *volatile Nothing = (volatile UCHAR *)(ULONG_PTR)0x18;
    Raise(DISPATCH_LEVEL);
    Expect(0xD1, 0x18, DISPATCH_LEVEL, 1, ANY);
    *Nothing = 1;
}
SIN(0A)
{
    PUCHAR B = Paged(4 * PAGE_SIZE);
    Raise(DISPATCH_LEVEL);
    Expect(0x0A, P(B) + PAGE_SIZE, DISPATCH_LEVEL, ANY, ANY);
    KeSetEvent((PKEVENT)(B + PAGE_SIZE), 0, FALSE);
}
SIN(0A_null)
{
    PKEVENT volatile Nothing = (PKEVENT)(ULONG_PTR)0x20;
    Raise(DISPATCH_LEVEL);
    Expect(0x0A, 0x20, DISPATCH_LEVEL, ANY, ANY);
    KeSetEvent(Nothing, 0, FALSE);
}
SIN(50_0)
{
    PHYSICAL_ADDRESS Highest = {.QuadPart = -1};
    PUCHAR Va = MmAllocateContiguousMemory(PAGE_SIZE, Highest);
    MmFreeContiguousMemory(Va);
    Expect(0x50, P(Va), 2, ANY, 0);
    *(volatile UCHAR *)Va = 1;
}
SIN(50_2)
{
    PUCHAR At = FarIn(MmRegionSystemPtes);
    Expect(0x50, P(At), 0, ANY, 2);
    Sink = *(volatile UCHAR *)At;
}
SIN(BE)
{
    HANDLE Pool;
    POOL_EXTENDED_PARAMS_SECURE_POOL Secure;
    POOL_EXTENDED_PARAMETER One;
    PUCHAR B;
    if (ExCreatePool(POOL_CREATE_FLG_SECURE_POOL, TAG, NULL, &Pool) != STATUS_SUCCESS)
        return;
    memset(&One, 0, sizeof One);
    Secure = (POOL_EXTENDED_PARAMS_SECURE_POOL){Pool, NULL, 1, 0};
    One.Type = PoolExtendedParameterSecurePool;
    One.SecurePoolParams = &Secure;
    B = ExAllocatePool3(POOL_FLAG_NON_PAGED, 64, TAG, &One, 1);
    Sink = *B; /* reading is right */
    Expect(0xBE, P(B), ANY, 0, 0);
    *(volatile UCHAR *)B = 1;
}
SIN(FC)
{
    PUCHAR B = NonPaged(64);
    B[0] = 0xC3;
    Expect(0xFC, P(B), ANY, 0, 0);
    ((void (*)(void))(ULONG_PTR)B)();
}
RIGHT(FC)
{
    PUCHAR B = ExAllocatePoolWithTag(NonPagedPoolExecute, 64, TAG);
    B[0] = 0xC3;
    ((void (*)(void))(ULONG_PTR)B)();
    ExFreePool(B);
}
SIN(C5)
{
    static NPAGED_LOOKASIDE_LIST List;
    PVOID Entry;
    ExInitializeNPagedLookasideList(&List, NULL, NULL, POOL_NX_ALLOCATION, 64, TAG, 0);
    Entry = ExAllocateFromNPagedLookasideList(&List);
    ExFreeToNPagedLookasideList(&List, Entry);
    *(PVOID *)Entry = FarIn(MmRegionNonPagedPool); /* written after it was freed */
    Raise(DISPATCH_LEVEL);
    Expect(0xC5, P(FarIn(MmRegionNonPagedPool)), DISPATCH_LEVEL, 0, ANY);
    Sink = (UCHAR)P(ExAllocateFromNPagedLookasideList(&List));
    Sink = (UCHAR)P(ExAllocateFromNPagedLookasideList(&List));
}
SIN(139_3)
{
    LIST_ENTRY Head, Entry, Other;
    InitializeListHead(&Head);
    InsertTailList(&Head, &Entry);
    InsertTailList(&Head, &Other);
    RemoveEntryList(&Entry);
    Expect(0x139, 3, ANY, ANY, 0);
    RemoveEntryList(&Entry);
}
RIGHT(139_3)
{
    LIST_ENTRY Head, Entry;
    InitializeListHead(&Head);
    InsertTailList(&Head, &Entry);
    RemoveEntryList(&Entry);
    InsertTailList(&Head, &Entry);
    RemoveEntryList(&Entry);
}
SIN(139) /* what a compiler's or a library's check does when it fails */
{
    Expect(0x139, Argument, ANY, ANY, 0);
    RtlFailFast((ULONG)Argument);
}
static VOID WritesFreed(PVOID Unused)
{
    PVOID Base = NULL;
    SIZE_T Size = 0x10000;
    (void)Unused;
    ZwAllocateVirtualMemory(NtCurrentProcess(), &Base, 0, &Size, MEM_COMMIT | MEM_RESERVE, PAGE_READWRITE);
    *(volatile UCHAR *)Base = 1;
    if (Argument != 0) {
        ZwFreeVirtualMemory(NtCurrentProcess(), &Base, &Size, MEM_RELEASE);
        Expect(0x1A, 0x4477, P(Base), 0, 0);
        *(volatile UCHAR *)Base = 1;
    }
    PsTerminateSystemThread(STATUS_SUCCESS);
}
static void InSystemProcess(PKSTART_ROUTINE Routine)
{
    HANDLE Handle;
    PVOID Thread;
    PsCreateSystemThread(&Handle, THREAD_ALL_ACCESS, NULL, NULL, NULL, Routine, NULL);
    ObReferenceObjectByHandle(Handle, THREAD_ALL_ACCESS, *PsThreadType, KernelMode, &Thread, NULL);
    KeWaitForSingleObject(Thread, Executive, KernelMode, FALSE, NULL);
}
SIN(1A_4477)
{
    InSystemProcess(WritesFreed);
}
RIGHT(1A_4477)
{
    Argument = 0;
    InSystemProcess(WritesFreed);
}

CASES(Touch){"0xD1", "", Sin_D1, Right_D1, 0}, {"0xD1#2", "", Sin_D1_null, NULL, 0}, {"0x0A", "", Sin_0A, Right_D1, 0},
    {"0x0A#2", "", Sin_0A_null, NULL, 0}, {"0x50/0x0", "", Sin_50_0, Right_C2_60, 0}, {"0x50/0x2", "", Sin_50_2, NULL, 0},
    {"0xBE", "", Sin_BE, NULL, 0}, {"0xFC", "", Sin_FC, Right_FC, 0}, {"0xC5", "", Sin_C5, Right_lookaside, 0},
    {"0x139/0x3", "", Sin_139_3, Right_139_3, 0}, {"0x1A/0x4477", "", Sin_1A_4477, Right_1A_4477, 1},
    {"0x139/0x0", "", Sin_139, NULL, 0x0}, {"0x139/0x1", "", Sin_139, NULL, 0x1}, {"0x139/0x2", "", Sin_139, NULL, 0x2},
    {"0x139/0x4", "", Sin_139, NULL, 0x4}, {"0x139/0x5", "", Sin_139, NULL, 0x5}, {"0x139/0x6", "", Sin_139, NULL, 0x6},
    {"0x139/0x7", "", Sin_139, NULL, 0x7}, {"0x139/0x8", "", Sin_139, NULL, 0x8}, {"0x139/0x9", "", Sin_139, NULL, 0x9},
    {"0x139/0xA", "", Sin_139, NULL, 0xA}, {"0x139/0xB", "", Sin_139, NULL, 0xB}, {"0x139/0xC", "", Sin_139, NULL, 0xC},
    {"0x139/0xD", "", Sin_139, NULL, 0xD}, {"0x139/0xE", "", Sin_139, NULL, 0xE}, {"0x139/0x12", "", Sin_139, NULL, 0x12},
    {"0x139/0x13", "", Sin_139, NULL, 0x13}, {"0x139/0x15", "", Sin_139, NULL, 0x15}, {"0x139/0x18", "", Sin_139, NULL, 0x18},
    {"0x139/0x1C", "", Sin_139, NULL, 0x1C}, {"0x139/0x1D", "", Sin_139, NULL, 0x1D}, {"0x139/0x25", "", Sin_139, NULL, 0x25},
    {"0x139/0x26", "", Sin_139, NULL, 0x26}, END_CASES(Touch)
