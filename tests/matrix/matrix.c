/*
 * matrix.c - the detection matrix: a small program for each documented way of making a memory bug check, with the numbers it must
 * stop with, and beside it one that comes close and is right. SPDX-License-Identifier: MIT
 *
 *   matrix [ROWS REASONS [ROW]]     runs every case (or those of one row) and prints every row of ROWS (rows.tsv):
 *       caught      as expected, all numbers that are determined
 *       otherwise   the system stopped with other numbers
 *       missed      it did not stop; or no case is written yet
 *       elsewhere   caught, in the test program that is named (REASONS)
 *       n/a         not applicable here, with the reason (REASONS)
 *   Exit 1 if a case is caught otherwise or missed, or a right program was accused.
 *
 * Each case runs in a child of its own with a system of its own, so that nothing it breaks reaches the next. The child says in
 * shared memory what it is about to do (Expect) and then does it; the stop comes back by ntmm_catch, or, from another thread, as
 * the first line of the block on stderr.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <regex.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#include <ntifs.h>
#include <ntmm.h>
#include "mm/mm.h"

#define TAG  'xtaM'
#define ANY  0xA19A19A19A19A19Aull
#define P(x) ((uint64_t)(ULONG_PTR)(x))

typedef struct SHARED {
    uint32_t Code;
    uint64_t Parameters[4];
    bool Expected, Stopped, Started;
    uint32_t StopCode;
    uint64_t StopParameters[4];
    char Words[512];
} SHARED;
static SHARED *Shared;

static void Expect(uint32_t Code, uint64_t P1, uint64_t P2, uint64_t P3, uint64_t P4)
{
    Shared->Code = Code;
    Shared->Parameters[0] = P1;
    Shared->Parameters[1] = P2;
    Shared->Parameters[2] = P3;
    Shared->Parameters[3] = P4;
    Shared->Expected = true;
}

static volatile UCHAR Sink;
static PUCHAR NonPaged(SIZE_T Size)
{
    return ExAllocatePool2(POOL_FLAG_NON_PAGED | POOL_FLAG_UNINITIALIZED, Size, TAG);
}
static PUCHAR Paged(SIZE_T Size)
{
    return ExAllocatePool2(POOL_FLAG_PAGED | POOL_FLAG_UNINITIALIZED, Size, TAG);
}
static KIRQL Raise(KIRQL To)
{
    KIRQL Old;
    KeRaiseIrql(To, &Old);
    return Old;
}
static PUCHAR FarIn(MM_REGION Region) /* an address of a region that nobody has allocated */
{
    MM_REGION_INFO Info;
    MmQueryRegion(Region, &Info);
    return (PUCHAR)(Info.End - 0x10000);
}
static uint64_t PageOf(MM_REGION Region, const void *Address)
{
    MM_REGION_INFO Info;
    MmQueryRegion(Region, &Info);
    return (P(Address) - Info.Base) >> PAGE_SHIFT;
}
#define SIN(Name)   static void Sin_##Name(void)
#define RIGHT(Name) static void Right_##Name(void)

/* ---- 0xC2: frees and requests ---- */
SIN(C2_7)
{
    PUCHAR B = NonPaged(100);
    ExFreePool(B);
    Expect(0xC2, 7, 0, TAG, P(B));
    ExFreePool(B);
}
RIGHT(C2_7)
{
    PUCHAR B = NonPaged(100);
    ExFreePool(B);
    B = NonPaged(100); /* perhaps the same address: another block */
    ExFreePoolWithTag(B, TAG);
}
SIN(C2_8)
{
    Raise(DISPATCH_LEVEL);
    Expect(0xC2, 8, DISPATCH_LEVEL, PagedPool, 100);
    Sink = (UCHAR)P(Paged(100));
}
RIGHT(C2_8)
{
    KIRQL Old = Raise(DISPATCH_LEVEL);
    PUCHAR B = NonPaged(100);
    ExFreePool(B);
    KeLowerIrql(Old);
    Old = Raise(APC_LEVEL);
    ExFreePool(Paged(100));
    KeLowerIrql(Old);
}
SIN(C2_9)
{
    PUCHAR B = Paged(100);
    Raise(DISPATCH_LEVEL);
    Expect(0xC2, 9, DISPATCH_LEVEL, PagedPool, P(B));
    ExFreePool(B);
}
SIN(C2_A)
{
    PUCHAR B = NonPaged(100);
    Expect(0xC2, 0xA, P(B), TAG, 'rhtO');
    ExFreePoolWithTag(B, 'rhtO');
}
RIGHT(C2_A)
{
    ExFreePoolWithTag(NonPaged(100), 0); /* not checked */
    ExFreePoolWithTag(ExAllocatePoolWithTag(NonPagedPoolNx, 10, TAG | PROTECTED_POOL), TAG | PROTECTED_POOL);
}
SIN(C2_40)
{
    Expect(0xC2, 0x40, 0, P(MmSystemRangeStart), 0);
    (ExFreePool)(NULL);
}
SIN(C2_42)
{
    UCHAR Local[64];
    Expect(0xC2, 0x42, P(Local), 0, 0);
    (ExFreePool)(Local);
}
SIN(C2_44)
{
    PUCHAR At = FarIn(MmRegionNonPagedPool);
    Expect(0xC2, 0x44, P(At), 0, 0);
    ExFreePool(At);
}
SIN(C2_46)
{
    PUCHAR B = NonPaged(100);
    Expect(0xC2, 0x46, P(B) + 16, 0, 0);
    ExFreePool(B + 16);
}
SIN(C2_50)
{
    PUCHAR At = FarIn(MmRegionPagedPool);
    Expect(0xC2, 0x50, P(At), PageOf(MmRegionPagedPool, At), ANY);
    ExFreePool(At);
}
SIN(C2_41286)
{
    PUCHAR B = Paged(100);
    Expect(0xC2, 0x41286, 0, 0, PageOf(MmRegionPagedPool, B));
    ExFreePool(B + 16);
}
SIN(C2_60)
{
    PHYSICAL_ADDRESS Highest = {.QuadPart = -1};
    PUCHAR Va = MmAllocateContiguousMemory(2 * PAGE_SIZE, Highest);
    Expect(0xC2, 0x60, P(Va) + 8, 0, 0);
    MmFreeContiguousMemory(Va + 8);
}
RIGHT(C2_60)
{
    PHYSICAL_ADDRESS Highest = {.QuadPart = -1};
    MmFreeContiguousMemory(MmAllocateContiguousMemory(2 * PAGE_SIZE, Highest));
}
SIN(C2_99)
{
    PUCHAR B = NonPaged(100);
    POOL_EXTENDED_PARAMETER One;
    memset(&One, 0, sizeof One);
    Expect(0xC2, 0x99, P(B), 0, 0);
    ExFreePool2(B, TAG, &One, 1);
}
RIGHT(C2_99)
{
    ExFreePool2(NonPaged(100), TAG, NULL, 0);
}
SIN(C2_9A)
{
    Expect(0xC2, 0x9A, NonPagedPoolMustSucceed, 100, TAG);
    Sink = (UCHAR)P(ExAllocatePoolWithTag(NonPagedPoolMustSucceed, 100, TAG));
}
SIN(C2_9B)
{
    Expect(0xC2, 0x9B, PagedPool, 100, ANY);
    Sink = (UCHAR)P(ExAllocatePoolWithTag(PagedPool, 100, 0));
}
SIN(C2_9C)
{
    Expect(0xC2, 0x9C, PagedPool, 100, ANY);
    Sink = (UCHAR)P(ExAllocatePoolWithTag(PagedPool, 100, 0x474942));
}
SIN(C2_9D)
{
    Expect(0xC2, 0x9D, '....', PagedPool, ANY);
    Sink = (UCHAR)P(ExAllocatePoolWithTag(PagedPool, 100, '....'));
}
RIGHT(C2_9D)
{
    ExFreePool(ExAllocatePoolWithTag(PagedPool, 100, '...z'));
    ExFreePool(ExAllocatePoolWithTag(PagedPool, 100, 'GIBx'));
}

/* ---- damage ---- */
SIN(19_21)
{
    PUCHAR B = NonPaged(100);
    B[100] = 0x77;
    Expect(0x19, 0x21, P(B), 100, ANY);
    ExFreePool(B);
}
RIGHT(19_21)
{
    PUCHAR B = NonPaged(100);
    memset(B, 0x77, 100);
    ExFreePool(B);
}
SIN(C6)
{
    PUCHAR B = NonPaged(112);
    unsigned Index;
    ExFreePool(B);
    B[3] = 0x77;
    Expect(0xC6, ANY, 1, 0, ANY);
    for (Index = 0; Index < 100000; Index++)
        Sink = *NonPaged(112);
}
RIGHT(C6)
{
    unsigned Index;
    for (Index = 0; Index < 1000; Index++) {
        PUCHAR B = NonPaged(112);
        memset(B, 1, 112);
        ExFreePool(B);
    }
}

/* ---- special pool (verifier 0x1) ---- */
SIN(C1_20)
{
    PUCHAR B = NonPaged(100);
    ExFreePool(B);
    Expect(0xC1, P(B), 0, 0, 0x20);
    ExFreePool(B);
}
SIN(C1_21)
{
    PUCHAR B = NonPaged(100);
    Expect(0xC1, P(B) + 16, 100, 84, 0x21);
    ExFreePool(B + 16);
}
SIN(C1_23)
{
    PUCHAR B = NonPaged(96);
    B[-3] ^= 0xFF;
    Expect(0xC1, P(B), P(B) - 3, ANY, 0x23);
    ExFreePool(B);
}
SIN(C1_24)
{
    PUCHAR B = NonPaged(100);
    B[101] ^= 0xFF;
    Expect(0xC1, P(B), P(B) + 101, ANY, 0x24);
    ExFreePool(B);
}
SIN(C1_31)
{
    PUCHAR B = Paged(100);
    Raise(DISPATCH_LEVEL);
    Expect(0xC1, DISPATCH_LEVEL, PagedPool, P(B), 0x31);
    ExFreePool(B);
}
SIN(C1_32)
{
    PUCHAR B = NonPaged(100);
    B[101] ^= 0x10;
    Expect(0xC1, P(B), P(B) + 101, ANY, 0x32);
    ExFreePool(B);
}
RIGHT(special)
{
    unsigned Size;
    for (Size = 1; Size < 6000; Size += Size < 64 ? 1 : 333) {
        PUCHAR B = Size & 1 ? Paged(Size) : NonPaged(Size);
        memset(B, 0x11, Size);
        ExFreePoolWithTag(B, TAG);
    }
}
SIN(CC)
{
    PKEVENT Event = (PKEVENT)NonPaged(sizeof *Event);
    KeInitializeEvent(Event, NotificationEvent, FALSE);
    ExFreePool(Event);
    Expect(0xCC, ANY, ANY, ANY, 0);
    KeSetEvent(Event, 0, FALSE);
}
SIN(CD)
{
    PUCHAR B = NonPaged(16);
    Expect(0xCD, P(B) + 16, ANY, ANY, 0);
    KeSetEvent((PKEVENT)(B + 16), 0, FALSE);
}
SIN(D5)
{
    PUCHAR B = NonPaged(100);
    ExFreePool(B);
    Expect(0xD5, P(B) + 7, 0, ANY, 0);
    Sink = *(volatile UCHAR *)(B + 7);
}
SIN(D6)
{
    PUCHAR B = NonPaged(128);
    Expect(0xD6, P(B) + 128, 1, ANY, 0);
    *(volatile UCHAR *)(B + 128) = 1;
}

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
SIN(139_5)
{
    Expect(0x139, 5, ANY, ANY, 0);
    RtlFailFast(FAST_FAIL_INVALID_ARG);
}
SIN(139_7)
{
    Expect(0x139, 7, ANY, ANY, 0);
    RtlFailFast(7);
}

/* ---- MDLs and mappings ---- */
SIN(1A_1240)
{
    PUCHAR B = Paged(PAGE_SIZE);
    PMDL Mdl = IoAllocateMdl(B, 64, FALSE, FALSE, NULL);
    Expect(0x1A, 0x1240, P(Mdl), ANY, 0);
    MmBuildMdlForNonPagedPool(Mdl);
}
RIGHT(1A_1240)
{
    PUCHAR B = NonPaged(PAGE_SIZE);
    PMDL Mdl = IoAllocateMdl(B, 64, FALSE, FALSE, NULL);
    MmBuildMdlForNonPagedPool(Mdl);
    Sink = *(PUCHAR)MmGetSystemAddressForMdlSafe(Mdl, NormalPagePriority);
    IoFreeMdl(Mdl);
    ExFreePool(B);
}
SIN(1A_1235)
{
    PUCHAR B = Paged(PAGE_SIZE);
    PMDL Mdl = IoAllocateMdl(B, 64, FALSE, FALSE, NULL);
    MmProbeAndLockPages(Mdl, KernelMode, IoReadAccess);
    (void)MmGetSystemAddressForMdlSafe(Mdl, NormalPagePriority);
    MmUnmapLockedPages(Mdl->MappedSystemVa, Mdl);
    Mdl->MdlFlags |= MDL_MAPPED_TO_SYSTEM_VA; /* a stale copy says so */
    Expect(0x1A, 0x1235, ANY, ANY, ANY);
    (void)MmProtectMdlSystemAddress(Mdl, PAGE_READONLY);
}
SIN(1A_1236)
{
    PMDL Mdl = IoAllocateMdl((PVOID)(ULONG_PTR)PAGE_SIZE, 64, FALSE, FALSE, NULL);
    MmGetMdlPfnArray(Mdl)[0] = 0x123456789;
    Mdl->MdlFlags |= MDL_PAGES_LOCKED;
    Expect(0x1A, 0x1236, P(Mdl), P(&MmGetMdlPfnArray(Mdl)[0]), 0x123456789);
    (void)MmGetSystemAddressForMdlSafe(Mdl, NormalPagePriority);
}
SIN(1A_1233)
{
    PPHYSICAL_MEMORY_RANGE Last = MmGetPhysicalMemoryRanges();
    PHYSICAL_ADDRESS Ram;
    while (Last[1].NumberOfBytes.QuadPart != 0)
        Last++;
    Ram.QuadPart = Last->BaseAddress.QuadPart + Last->NumberOfBytes.QuadPart / 2; /* nobody's yet */
    Expect(0x1A, 0x1233, ANY, 0, 0);
    (void)MmMapIoSpace(Ram, PAGE_SIZE, MmNonCached);
}
SIN(1A_15000)
{
    Expect(0x1A, 0x15000, 0x12345000, 0, 0);
    MmUnsecureVirtualMemory((HANDLE)(ULONG_PTR)0x12345000);
}
SIN(4E_7)
{
    PMDL Mdl = IoAllocateMdl(Paged(PAGE_SIZE), 64, FALSE, FALSE, NULL);
    MmProbeAndLockPages(Mdl, KernelMode, IoReadAccess);
    MmUnlockPages(Mdl);
    Mdl->MdlFlags |= MDL_PAGES_LOCKED; /* a copy of the MDL */
    Expect(0x4E, 7, MmGetMdlPfnArray(Mdl)[0], ANY, 0);
    MmUnlockPages(Mdl);
}
RIGHT(4E_7)
{
    PMDL Mdl = IoAllocateMdl(Paged(PAGE_SIZE), 64, FALSE, FALSE, NULL);
    MmProbeAndLockPages(Mdl, KernelMode, IoReadAccess);
    MmUnlockPages(Mdl);
    MmProbeAndLockPages(Mdl, KernelMode, IoReadAccess);
    MmUnlockPages(Mdl);
    IoFreeMdl(Mdl);
}
SIN(4E_9A)
{
    PHYSICAL_ADDRESS Low = {.QuadPart = 0}, High = {.QuadPart = -1}, Skip = {.QuadPart = 0};
    PMDL Mdl = MmAllocatePagesForMdlEx(Low, High, Skip, PAGE_SIZE, MmCached, 0);
    PUCHAR Va = MmGetSystemAddressForMdlSafe(Mdl, NormalPagePriority);
    PMDL Other = IoAllocateMdl(Va, 64, FALSE, FALSE, NULL);
    MmProbeAndLockPages(Other, KernelMode, IoReadAccess);
    Expect(0x4E, 0x9A, MmGetMdlPfnArray(Mdl)[0], ANY, ANY);
    MmFreePagesFromMdl(Mdl);
}
RIGHT(4E_9A)
{
    PHYSICAL_ADDRESS Low = {.QuadPart = 0}, High = {.QuadPart = -1}, Skip = {.QuadPart = 0};
    PMDL Mdl = MmAllocatePagesForMdlEx(Low, High, Skip, PAGE_SIZE, MmCached, 0);
    PUCHAR Va = MmGetSystemAddressForMdlSafe(Mdl, NormalPagePriority);
    Va[0] = 1;
    MmUnmapLockedPages(Va, Mdl);
    MmFreePagesFromMdl(Mdl);
    ExFreePool(Mdl);
}
SIN(3F_0)
{
    PUCHAR B = NonPaged(64 * PAGE_SIZE);
    unsigned Index;
    Expect(0x3F, 0, ANY, ANY, ANY);
    for (Index = 0; Index < 1000; Index++) {
        PMDL Mdl = IoAllocateMdl(B, 64 * PAGE_SIZE, FALSE, FALSE, NULL);
        MmProbeAndLockPages(Mdl, KernelMode, IoReadAccess);
        (void)MmMapLockedPagesSpecifyCache(Mdl, KernelMode, MmCached, NULL, TRUE, HighPagePriority);
    }
}
static PMDL LockedMdl(SIZE_T Bytes)
{
    PMDL Mdl = IoAllocateMdl(Paged(Bytes), (ULONG)Bytes, FALSE, FALSE, NULL);
    MmProbeAndLockPages(Mdl, KernelMode, IoReadAccess);
    return Mdl;
}
SIN(DA_2)
{
    PMDL Mdl = LockedMdl(2 * PAGE_SIZE);
    PVOID Va = MmGetSystemAddressForMdlSafe(Mdl, NormalPagePriority);
    Mdl->ByteCount = 10;
    Expect(0xDA, 2, P(Mdl), 2, 1);
    MmUnmapLockedPages(Va, Mdl);
}
SIN(DA_3)
{
    PMDL Mdl = LockedMdl(2 * PAGE_SIZE);
    PUCHAR Va = MmGetSystemAddressForMdlSafe(Mdl, NormalPagePriority);
    Expect(0xDA, 3, P(Mdl), P(Va), P(Va) + PAGE_SIZE);
    MmUnmapLockedPages(Va + PAGE_SIZE, Mdl);
}
SIN(DA_4)
{
    PMDL Mdl = LockedMdl(2 * PAGE_SIZE);
    PVOID Va = MmGetSystemAddressForMdlSafe(Mdl, NormalPagePriority);
    uint64_t First = MmGetMdlPfnArray(Mdl)[0];
    MmGetMdlPfnArray(Mdl)[0] = 77;
    Expect(0xDA, 4, P(Mdl), First, 77);
    MmUnmapLockedPages(Va, Mdl);
}
SIN(DA_6)
{
    PMDL Mdl = LockedMdl(2 * PAGE_SIZE);
    PVOID Va = MmGetSystemAddressForMdlSafe(Mdl, NormalPagePriority);
    MmUnmapLockedPages(Va, Mdl);
    Expect(0xDA, 6, P(Mdl), P(Va), 2);
    MmUnmapLockedPages(Va, Mdl);
}
RIGHT(DA)
{
    PMDL Mdl = LockedMdl(2 * PAGE_SIZE);
    PVOID Va = MmGetSystemAddressForMdlSafe(Mdl, NormalPagePriority);
    MmUnmapLockedPages(Va, Mdl);
    Va = MmGetSystemAddressForMdlSafe(Mdl, NormalPagePriority);
    Sink = *(PUCHAR)Va;
    MmUnlockPages(Mdl); /* takes the mapping with it */
    IoFreeMdl(Mdl);
}
SIN(DA_400)
{
    PUCHAR B = NonPaged(PAGE_SIZE);
    Expect(0xDA, 0x400, P(B), 1, 0);
    MmUnmapIoSpace(B, PAGE_SIZE);
}
SIN(C4_B0)
{
    PMDL Mdl = LockedMdl(PAGE_SIZE);
    Expect(0xC4, 0xB0, P(Mdl), ANY, ANY);
    MmProbeAndLockPages(Mdl, KernelMode, IoReadAccess);
}
SIN(C4_B2)
{
    PMDL Mdl = LockedMdl(PAGE_SIZE);
    (void)MmGetSystemAddressForMdlSafe(Mdl, NormalPagePriority);
    Expect(0xC4, 0xB2, P(Mdl), ANY, ANY);
    (void)MmMapLockedPagesSpecifyCache(Mdl, KernelMode, MmCached, NULL, FALSE, NormalPagePriority);
}

/* ---- memory routines above the IRQL they allow ---- */
SIN(C4_70)
{
    PMDL Mdl = IoAllocateMdl(NonPaged(64), 64, FALSE, FALSE, NULL);
    Raise(DISPATCH_LEVEL + 1);
    Expect(0xC4, 0x70, DISPATCH_LEVEL + 1, P(Mdl), KernelMode);
    MmProbeAndLockPages(Mdl, KernelMode, IoReadAccess);
}
RIGHT(C4_70)
{
    PMDL Mdl = IoAllocateMdl(NonPaged(64), 64, FALSE, FALSE, NULL);
    KIRQL Old = Raise(DISPATCH_LEVEL);
    MmProbeAndLockPages(Mdl, KernelMode, IoReadAccess);
    (void)MmGetSystemAddressForMdlSafe(Mdl, NormalPagePriority);
    MmUnlockPages(Mdl);
    KeLowerIrql(Old);
    IoFreeMdl(Mdl);
}
SIN(C4_73)
{
    PHYSICAL_ADDRESS Device = {.QuadPart = 0xFD000000};
    Raise(DISPATCH_LEVEL + 1);
    Expect(0xC4, 0x73, DISPATCH_LEVEL + 1, 0xFD000000, 4096);
    (void)MmMapIoSpace(Device, 4096, MmNonCached);
}
SIN(C4_74)
{
    PMDL Mdl = LockedMdl(PAGE_SIZE);
    Raise(DISPATCH_LEVEL + 1);
    Expect(0xC4, 0x74, DISPATCH_LEVEL + 1, P(Mdl), KernelMode);
    (void)(MmMapLockedPages)(Mdl, KernelMode);
}
SIN(C4_76)
{
    PMDL Mdl = LockedMdl(PAGE_SIZE);
    Raise(DISPATCH_LEVEL + 1);
    Expect(0xC4, 0x76, DISPATCH_LEVEL + 1, P(Mdl), KernelMode);
    (void)MmMapLockedPagesSpecifyCache(Mdl, KernelMode, MmCached, NULL, FALSE, NormalPagePriority);
}
SIN(C4_77)
{
    PMDL Mdl = LockedMdl(PAGE_SIZE);
    Raise(DISPATCH_LEVEL);
    Expect(0xC4, 0x77, DISPATCH_LEVEL, P(Mdl), UserMode);
    (void)MmMapLockedPagesSpecifyCache(Mdl, UserMode, MmCached, NULL, FALSE, NormalPagePriority);
}
SIN(C4_78)
{
    PMDL Mdl = LockedMdl(PAGE_SIZE);
    Raise(DISPATCH_LEVEL + 1);
    Expect(0xC4, 0x78, DISPATCH_LEVEL + 1, P(Mdl), 0);
    MmUnlockPages(Mdl);
}
SIN(C4_79)
{
    PMDL Mdl = LockedMdl(PAGE_SIZE);
    PVOID Va = MmGetSystemAddressForMdlSafe(Mdl, NormalPagePriority);
    Raise(DISPATCH_LEVEL + 1);
    Expect(0xC4, 0x79, DISPATCH_LEVEL + 1, P(Va), P(Mdl));
    MmUnmapLockedPages(Va, Mdl);
}
SIN(C4_7E)
{
    PHYSICAL_ADDRESS Low = {.QuadPart = 0}, High = {.QuadPart = -1}, Skip = {.QuadPart = 0};
    Raise(DISPATCH_LEVEL + 1);
    Expect(0xC4, 0x7E, DISPATCH_LEVEL + 1, ANY, 0);
    (void)MmAllocatePagesForMdlEx(Low, High, Skip, PAGE_SIZE, MmCached, 0);
}
SIN(C4_B8)
{
    PMDL Mdl = LockedMdl(PAGE_SIZE);
    (void)MmGetSystemAddressForMdlSafe(Mdl, NormalPagePriority);
    Expect(0xC4, 0xB8, P(Mdl), ANY, ANY);
    IoFreeMdl(Mdl);
}
SIN(D8)
{
    PUCHAR B = NonPaged(64 * PAGE_SIZE);
    unsigned Index;
    Expect(0xD8, ANY, ANY, ANY, ANY);
    for (Index = 0; Index < 1000; Index++) {
        PMDL Mdl = IoAllocateMdl(B, 64 * PAGE_SIZE, FALSE, FALSE, NULL);
        MmProbeAndLockPages(Mdl, KernelMode, IoReadAccess);
        (void)MmMapLockedPagesSpecifyCache(Mdl, KernelMode, MmCached, NULL, TRUE, HighPagePriority);
    }
}

/* ---- the Verifier's rules ---- */
static KSPIN_LOCK Lock;
static FAST_MUTEX Mutex;
static KEVENT Event;
SIN(C4_0)
{
    Expect(0xC4, 0, PASSIVE_LEVEL, PagedPool, 0);
    Sink = (UCHAR)P(ExAllocatePoolWithTag(PagedPool, 0, TAG));
}
RIGHT(C4_0)
{
    ExFreePool(ExAllocatePoolWithTag(PagedPool, 1, TAG));
}
SIN(C4_1)
{
    Raise(DISPATCH_LEVEL);
    Expect(0xC4, 1, DISPATCH_LEVEL, PagedPool, 100);
    Sink = (UCHAR)P(Paged(100));
}
SIN(C4_2)
{
    Raise(DISPATCH_LEVEL + 1);
    Expect(0xC4, 2, DISPATCH_LEVEL + 1, NonPagedPoolNx, 100);
    Sink = (UCHAR)P(NonPaged(100));
}
SIN(C4_11)
{
    PUCHAR B = Paged(100);
    Raise(DISPATCH_LEVEL);
    Expect(0xC4, 0x11, DISPATCH_LEVEL, PagedPool, P(B));
    ExFreePool(B);
}
SIN(C4_12)
{
    PUCHAR B = NonPaged(100);
    Raise(DISPATCH_LEVEL + 1);
    Expect(0xC4, 0x12, DISPATCH_LEVEL + 1, NonPagedPoolNx, P(B));
    ExFreePool(B);
}
SIN(C4_30)
{
    KIRQL Old;
    Raise(DISPATCH_LEVEL);
    Expect(0xC4, 0x30, DISPATCH_LEVEL, APC_LEVEL, 0);
    KeRaiseIrql(APC_LEVEL, &Old);
}
SIN(C4_31)
{
    Expect(0xC4, 0x31, PASSIVE_LEVEL, DISPATCH_LEVEL, 0);
    KeLowerIrql(DISPATCH_LEVEL);
}
RIGHT(C4_30)
{
    KIRQL Old = Raise(APC_LEVEL), Older = Raise(DISPATCH_LEVEL);
    KeLowerIrql(Older);
    KeLowerIrql(Old);
}
SIN(C4_32)
{
    KIRQL Old;
    KeInitializeSpinLock(&Lock);
    KeAcquireSpinLock(&Lock, &Old);
    KeReleaseSpinLock(&Lock, Old);
    Expect(0xC4, 0x32, PASSIVE_LEVEL, P(&Lock), 0);
    KeReleaseSpinLock(&Lock, Old);
}
RIGHT(C4_32)
{
    KIRQL Old;
    KeInitializeSpinLock(&Lock);
    KeAcquireSpinLock(&Lock, &Old);
    KeReleaseSpinLock(&Lock, Old);
    Old = Raise(DISPATCH_LEVEL);
    KeAcquireSpinLockAtDpcLevel(&Lock);
    KeReleaseSpinLockFromDpcLevel(&Lock);
    KeLowerIrql(Old);
}
SIN(C4_33)
{
    ExInitializeFastMutex(&Mutex);
    Raise(DISPATCH_LEVEL);
    Expect(0xC4, 0x33, DISPATCH_LEVEL, P(&Mutex), 0);
    ExAcquireFastMutex(&Mutex);
}
SIN(C4_34)
{
    ExInitializeFastMutex(&Mutex);
    ExAcquireFastMutex(&Mutex);
    KeLowerIrql(PASSIVE_LEVEL);
    Expect(0xC4, 0x34, PASSIVE_LEVEL, ANY, P(&Mutex));
    ExReleaseFastMutex(&Mutex);
}
RIGHT(C4_33)
{
    ExInitializeFastMutex(&Mutex);
    ExAcquireFastMutex(&Mutex);
    ExReleaseFastMutex(&Mutex);
}
SIN(C4_3B)
{
    LARGE_INTEGER Short = {.QuadPart = -10};
    KeInitializeEvent(&Event, NotificationEvent, FALSE);
    Raise(DISPATCH_LEVEL);
    Expect(0xC4, 0x3B, DISPATCH_LEVEL, P(&Event), P(&Short));
    KeWaitForSingleObject(&Event, Executive, KernelMode, FALSE, &Short);
}
RIGHT(C4_3B)
{
    LARGE_INTEGER Zero = {.QuadPart = 0};
    KIRQL Old;
    KeInitializeEvent(&Event, NotificationEvent, FALSE);
    Old = Raise(DISPATCH_LEVEL);
    KeWaitForSingleObject(&Event, Executive, KernelMode, FALSE, &Zero);
    KeLowerIrql(Old);
}
SIN(C4_3D)
{
    static UCHAR Memory[sizeof(ERESOURCE) + 16];
    PERESOURCE Resource = (PERESOURCE)(((P(Memory) + 7) & ~7ull) + 4);
    Expect(0xC4, 0x3D, 0, 0, P(Resource));
    KeEnterCriticalRegion();
    ExAcquireResourceExclusiveLite(Resource, TRUE);
}
SIN(C4_40)
{
    KeInitializeSpinLock(&Lock);
    Expect(0xC4, 0x40, PASSIVE_LEVEL, P(&Lock), 0);
    KeAcquireSpinLockAtDpcLevel(&Lock);
}
SIN(C4_41)
{
    KIRQL Old = Raise(DISPATCH_LEVEL);
    KeInitializeSpinLock(&Lock);
    KeAcquireSpinLockAtDpcLevel(&Lock);
    KeLowerIrql(Old);
    Expect(0xC4, 0x41, PASSIVE_LEVEL, P(&Lock), 0);
    KeReleaseSpinLockFromDpcLevel(&Lock);
}
SIN(C4_42)
{
    KIRQL Old;
    KeInitializeSpinLock(&Lock);
    Raise(DISPATCH_LEVEL + 1);
    Expect(0xC4, 0x42, DISPATCH_LEVEL + 1, P(&Lock), 0);
    KeAcquireSpinLock(&Lock, &Old);
}
static VOID Unload(PDRIVER_OBJECT Driver)
{
    (void)Driver;
}
static bool Leaks;
static NTSTATUS Entry(PDRIVER_OBJECT Driver, PUNICODE_STRING Path)
{
    (void)Path;
    Driver->DriverUnload = Unload;
    if (Leaks)
        Sink = *NonPaged(40);
    else
        ExFreePool(NonPaged(40));
    return STATUS_SUCCESS;
}
static void LoadAndUnload(bool Leak)
{
    ntmm_driver *Driver;
    Leaks = Leak;
    if (ntmm_add_driver("matrix", (int32_t(*)(struct _DRIVER_OBJECT *, struct _UNICODE_STRING *))Entry, &Driver) != 0)
        return;
    if (Leak)
        Expect(0xC4, 0x62, ANY, ANY, 1);
    ntmm_remove_driver(Driver, NULL);
}
SIN(C4_62)
{
    LoadAndUnload(true);
}
RIGHT(C4_62)
{
    LoadAndUnload(false);
}
SIN(C4_80)
{
    KeInitializeEvent(&Event, NotificationEvent, FALSE);
    Raise(DISPATCH_LEVEL + 1);
    Expect(0xC4, 0x80, DISPATCH_LEVEL + 1, P(&Event), 0);
    KeSetEvent(&Event, 0, FALSE);
}
static NPAGED_LOOKASIDE_LIST List;
SIN(C4_CA)
{
    ExInitializeNPagedLookasideList(&List, NULL, NULL, 0, 64, TAG, 0);
    Expect(0xC4, 0xCA, P(&List), 0, 0);
    ExInitializeNPagedLookasideList(&List, NULL, NULL, 0, 64, TAG, 0);
}
SIN(C4_CB)
{
    Expect(0xC4, 0xCB, P(&List), 0, 0);
    ExDeleteNPagedLookasideList(&List);
}
SIN(C4_CC)
{
    PNPAGED_LOOKASIDE_LIST In = (PNPAGED_LOOKASIDE_LIST)NonPaged(sizeof *In);
    ExInitializeNPagedLookasideList(In, NULL, NULL, 0, 64, TAG, 0);
    Expect(0xC4, 0xCC, P(In), P(In), sizeof *In);
    ExFreePool(In);
}
SIN(C4_CD)
{
    Expect(0xC4, 0xCD, P(&List), 4, 8);
    ExInitializeNPagedLookasideList(&List, NULL, NULL, 0, 4, TAG, 0);
}
RIGHT(lookaside)
{
    PNPAGED_LOOKASIDE_LIST In = (PNPAGED_LOOKASIDE_LIST)NonPaged(sizeof *In);
    ExInitializeNPagedLookasideList(In, NULL, NULL, 0, 8, TAG, 0);
    ExFreeToNPagedLookasideList(In, ExAllocateFromNPagedLookasideList(In));
    ExDeleteNPagedLookasideList(In);
    ExInitializeNPagedLookasideList(In, NULL, NULL, 0, 64, TAG, 0);
    ExDeleteNPagedLookasideList(In);
    ExFreePool(In);
}
static ERESOURCE Resource;
SIN(C4_D0)
{
    ExInitializeResourceLite(&Resource);
    Expect(0xC4, 0xD0, P(&Resource), 0, 0);
    ExInitializeResourceLite(&Resource);
}
SIN(C4_D1)
{
    ExInitializeResourceLite(&Resource);
    ExDeleteResourceLite(&Resource);
    Expect(0xC4, 0xD1, P(&Resource), 0, 0);
    ExDeleteResourceLite(&Resource);
}
SIN(C4_D2)
{
    PERESOURCE In = (PERESOURCE)NonPaged(sizeof *In);
    ExInitializeResourceLite(In);
    Expect(0xC4, 0xD2, P(In), P(In), sizeof *In);
    ExFreePool(In);
}
RIGHT(resource)
{
    PERESOURCE In = (PERESOURCE)NonPaged(sizeof *In);
    ExInitializeResourceLite(In);
    KeEnterCriticalRegion();
    ExAcquireResourceExclusiveLite(In, TRUE);
    ExReleaseResourceLite(In);
    KeLeaveCriticalRegion();
    ExDeleteResourceLite(In);
    ExInitializeResourceLite(In);
    ExDeleteResourceLite(In);
    ExFreePool(In);
}
SIN(C4_E5)
{
    HANDLE Pool;
    Raise(APC_LEVEL);
    Expect(0xC4, 0xE5, APC_LEVEL, 0, 0);
    Sink = (UCHAR)ExCreatePool(POOL_CREATE_FLG_SECURE_POOL, TAG, NULL, &Pool);
}
static KDPC Dpc;
static VOID DpcRoutine(PKDPC Object, PVOID Context, PVOID A, PVOID B)
{
    (void)Object, (void)Context, (void)A, (void)B;
    Sink = (UCHAR)P(ExAllocatePool2(POOL_FLAG_NON_PAGED | POOL_FLAG_USE_QUOTA, 10, TAG));
}
SIN(C4_10B)
{
    KeInitializeDpc(&Dpc, DpcRoutine, NULL);
    Expect(0xC4, 0x10B, 0, 0, 0);
    KeInsertQueueDpc(&Dpc, NULL, NULL);
    KeFlushQueuedDpcs();
}
static VOID Work(PVOID Context)
{
    (void)Context;
}
SIN(C4_131)
{
    PWORK_QUEUE_ITEM Item = (PWORK_QUEUE_ITEM)Paged(sizeof *Item);
    ExInitializeWorkItem(Item, Work, NULL);
    Expect(0xC4, 0x131, P(Item), 0, 0);
    ExQueueWorkItem(Item, DelayedWorkQueue);
}
SIN(C4_2000)
{
    Expect(0xC4, 0x2000, ANY, NonPagedPoolExecute, TAG);
    Sink = (UCHAR)P(ExAllocatePoolWithTag(NonPagedPoolExecute, 100, TAG));
}
RIGHT(C4_2000)
{
    ExFreePool(ExAllocatePoolWithTag(NonPagedPoolNx, 100, TAG));
}
static VOID Idle(PKDPC Object, PVOID Context, PVOID A, PVOID B)
{
    (void)Object, (void)Context, (void)A, (void)B;
}
SIN(C7_0)
{
    LARGE_INTEGER Late = {.QuadPart = -10000000LL * 1000};
    PKTIMER Timer = (PKTIMER)NonPaged(sizeof *Timer);
    KeInitializeTimer(Timer);
    KeSetTimer(Timer, Late, NULL);
    Expect(0xC7, 0, P(Timer), P(Timer), P(Timer + 1));
    ExFreePool(Timer);
}
SIN(C7_1)
{
    PKDPC Queued = (PKDPC)NonPaged(sizeof *Queued);
    KeInitializeDpc(Queued, Idle, NULL);
    Raise(DISPATCH_LEVEL);
    KeInsertQueueDpc(Queued, NULL, NULL);
    Expect(0xC7, 1, P(Queued), P(Queued), P(Queued + 1));
    ExFreePool(Queued);
}
RIGHT(C7)
{
    LARGE_INTEGER Late = {.QuadPart = -10000000LL * 1000};
    PKTIMER Timer = (PKTIMER)NonPaged(sizeof *Timer);
    KeInitializeTimer(Timer);
    KeSetTimer(Timer, Late, NULL);
    KeCancelTimer(Timer);
    ExFreePool(Timer);
}
SIN(C7_3)
{
    KeInitializeDpc(&Dpc, DpcRoutine, NULL);
    Dpc.Number = 0x500 + 60;
    Expect(0xC7, 3, P(&Dpc), ANY, ANY);
    KeInsertQueueDpc(&Dpc, NULL, NULL);
}
SIN(21)
{
    Expect(0x21, P(PsGetCurrentProcess()), 1, ANY, ANY);
    PsReturnProcessPagedPoolQuota(PsGetCurrentProcess(), 1ull << 40);
}
RIGHT(21)
{
    PsChargePoolQuota(PsGetCurrentProcess(), PagedPool, 100);
    PsReturnPoolQuota(PsGetCurrentProcess(), PagedPool, 100);
}

#define STANDARD "verifier=standard"
static const struct {
    const char *Row, *Options;
    void (*Sin)(void), (*Right)(void);
} Cases[] = {
    {"0xC2/0x7", "", Sin_C2_7, Right_C2_7},
    {"0xC2/0x8", "", Sin_C2_8, Right_C2_8},
    {"0xC2/0x9", "", Sin_C2_9, Right_C2_8},
    {"0xC2/0xA", "", Sin_C2_A, Right_C2_A},
    {"0xC2/0x40", "", Sin_C2_40, NULL},
    {"0xC2/0x42", "", Sin_C2_42, NULL},
    {"0xC2/0x44", "", Sin_C2_44, NULL},
    {"0xC2/0x46", "", Sin_C2_46, NULL},
    {"0xC2/0x50", "", Sin_C2_50, NULL},
    {"0xC2/0x41286", "", Sin_C2_41286, NULL},
    {"0xC2/0x60", "", Sin_C2_60, Right_C2_60},
    {"0xC2/0x99", "", Sin_C2_99, Right_C2_99},
    {"0xC2/0x9A", "", Sin_C2_9A, NULL},
    {"0xC2/0x9B", "verifier=pool_tracking", Sin_C2_9B, NULL},
    {"0xC2/0x9C", "verifier=pool_tracking", Sin_C2_9C, NULL},
    {"0xC2/0x9D", "verifier=pool_tracking", Sin_C2_9D, Right_C2_9D},
    {"0x19/0x21", "", Sin_19_21, Right_19_21},
    {"0xC6", "", Sin_C6, Right_C6},
    {"0xC1/0x20", STANDARD, Sin_C1_20, Right_C2_7},
    {"0xC1/0x21", STANDARD, Sin_C1_21, Right_special},
    {"0xC1/0x23", STANDARD, Sin_C1_23, Right_special},
    {"0xC1/0x24", STANDARD, Sin_C1_24, Right_19_21},
    {"0xC1/0x31", "verifier=special_pool", Sin_C1_31, Right_C2_8},
    {"0xC1/0x32", STANDARD, Sin_C1_32, Right_special},
    {"0xCC", "verifier=special_pool", Sin_CC, NULL},
    {"0xCD", "verifier=special_pool", Sin_CD, NULL},
    {"0xD5", STANDARD, Sin_D5, Right_C6},
    {"0xD6", STANDARD, Sin_D6, Right_special},
    {"0xD1", "", Sin_D1, Right_D1},
    {"0xD1#2", "", Sin_D1_null, NULL},
    {"0x0A", "", Sin_0A, Right_D1},
    {"0x0A#2", "", Sin_0A_null, NULL},
    {"0x50/0x0", "", Sin_50_0, Right_C2_60},
    {"0x50/0x2", "", Sin_50_2, NULL},
    {"0xBE", "", Sin_BE, NULL},
    {"0xFC", "", Sin_FC, Right_FC},
    {"0xC5", "", Sin_C5, Right_lookaside},
    {"0x139/0x3", "", Sin_139_3, Right_139_3},
    {"0x139/0x5", "", Sin_139_5, NULL},
    {"0x139/0x7", "", Sin_139_7, NULL},
    {"0x1A/0x1240", "", Sin_1A_1240, Right_1A_1240},
    {"0x1A/0x1235", "", Sin_1A_1235, NULL},
    {"0x1A/0x1236", "", Sin_1A_1236, NULL},
    {"0x1A/0x1233", "", Sin_1A_1233, NULL},
    {"0x1A/0x15000", "", Sin_1A_15000, NULL},
    {"0x4E/0x7", "", Sin_4E_7, Right_4E_7},
    {"0x4E/0x9A", "", Sin_4E_9A, Right_4E_9A},
    {"0x3F/0x0", "systemptes=1M", Sin_3F_0, NULL},
    {"0xDA/0x2", "", Sin_DA_2, Right_DA},
    {"0xDA/0x3", "", Sin_DA_3, Right_DA},
    {"0xDA/0x4", "", Sin_DA_4, Right_DA},
    {"0xDA/0x6", "", Sin_DA_6, Right_DA},
    {"0xDA/0x400", "", Sin_DA_400, NULL},
    {"0xC4/0xB0", "", Sin_C4_B0, Right_4E_7},
    {"0xC4/0xB2", "", Sin_C4_B2, Right_DA},
    {"0xC4/0x70", "", Sin_C4_70, Right_C4_70},
    {"0xC4/0x73", "", Sin_C4_73, NULL},
    {"0xC4/0x74", "", Sin_C4_74, NULL},
    {"0xC4/0x76", "", Sin_C4_76, Right_C4_70},
    {"0xC4/0x77", "", Sin_C4_77, NULL},
    {"0xC4/0x78", "", Sin_C4_78, Right_C4_70},
    {"0xC4/0x79", "", Sin_C4_79, NULL},
    {"0xC4/0x7E", "", Sin_C4_7E, NULL},
    {"0xC4/0xB8", "", Sin_C4_B8, Right_DA},
    {"0xD8", "systemptes=1M,track_ptes=1", Sin_D8, NULL},
    {"0xC4/0x0", STANDARD, Sin_C4_0, Right_C4_0},
    {"0xC4/0x1", STANDARD, Sin_C4_1, Right_C2_8},
    {"0xC4/0x2", STANDARD, Sin_C4_2, Right_C2_8},
    {"0xC4/0x11", "verifier=misc", Sin_C4_11, Right_C2_8},
    {"0xC4/0x12", "verifier=misc", Sin_C4_12, Right_C2_8},
    {"0xC4/0x30", "", Sin_C4_30, Right_C4_30},
    {"0xC4/0x31", "", Sin_C4_31, Right_C4_30},
    {"0xC4/0x32", "", Sin_C4_32, Right_C4_32},
    {"0xC4/0x33", "", Sin_C4_33, Right_C4_33},
    {"0xC4/0x34", "", Sin_C4_34, Right_C4_33},
    {"0xC4/0x3B", "", Sin_C4_3B, Right_C4_3B},
    {"0xC4/0x3D", "", Sin_C4_3D, NULL},
    {"0xC4/0x40", "", Sin_C4_40, Right_C4_32},
    {"0xC4/0x41", "", Sin_C4_41, Right_C4_32},
    {"0xC4/0x42", "", Sin_C4_42, Right_C4_32},
    {"0xC4/0x62", STANDARD, Sin_C4_62, Right_C4_62},
    {"0xC4/0x80", "", Sin_C4_80, NULL},
    {"0xC4/0xCA", STANDARD, Sin_C4_CA, Right_lookaside},
    {"0xC4/0xCB", STANDARD, Sin_C4_CB, Right_lookaside},
    {"0xC4/0xCC", STANDARD, Sin_C4_CC, Right_lookaside},
    {"0xC4/0xCD", STANDARD, Sin_C4_CD, Right_lookaside},
    {"0xC4/0xD0", STANDARD, Sin_C4_D0, Right_resource},
    {"0xC4/0xD1", STANDARD, Sin_C4_D1, Right_resource},
    {"0xC4/0xD2", STANDARD, Sin_C4_D2, Right_resource},
    {"0xC4/0xE5", "", Sin_C4_E5, NULL},
    {"0xC4/0x10B", STANDARD, Sin_C4_10B, NULL},
    {"0xC4/0x131", STANDARD, Sin_C4_131, NULL},
    {"0xC4/0x2000", "verifier=code_integrity", Sin_C4_2000, Right_C4_2000},
    {"0xC7/0x0", STANDARD, Sin_C7_0, Right_C7},
    {"0xC7/0x1", STANDARD, Sin_C7_1, Right_C7},
    {"0xC7/0x3", "", Sin_C7_3, NULL},
    {"0x21", "", Sin_21, Right_21},
};

/* ---- running ---- */
static void Call(void *Argument)
{
    (*(void (*const *)(void))Argument)();
}

/* In the child: a system, the case, what came of it in Shared. */
static _Noreturn void Child(const char *Text, void (*Case)(void))
{
    ntmm_options Options;
    ntmm_bugcheck Stop;
    memset(&Stop, 0, sizeof Stop);
    ntmm_default_options(&Options);
    Options.ram = 64 << 20;
    Options.cpus = 2;
    if (ntmm_parse_options(Text, &Options) != 0 || ntmm_start(&Options) != 0) {
        fprintf(stderr, "%s\n", ntmm_error());
        _exit(3);
    }
    Shared->Started = true;
    if (ntmm_catch(Call, &Case, &Stop)) {
        Shared->StopCode = Stop.code;
        memcpy(Shared->StopParameters, Stop.parameters, sizeof Stop.parameters);
        snprintf(Shared->Words, sizeof Shared->Words, "%s", Stop.words);
        Shared->Stopped = true;
    }
    _exit(0);
}

/* Runs a case in a child; the stop of another thread is read from its stderr. */
static void Run(const char *Options, void (*Case)(void))
{
    char Text[4096];
    size_t Used = 0;
    ssize_t Got;
    int Pipe[2], Status;
    const char *Line;
    memset(Shared, 0, sizeof *Shared);
    if (pipe(Pipe) != 0)
        exit(3);
    fflush(NULL);
    pid_t Id = fork();
    if (Id == 0) {
        alarm(60);
        dup2(Pipe[1], 2);
        close(Pipe[0]);
        close(Pipe[1]);
        Child(Options, Case);
    }
    close(Pipe[1]);
    while ((Got = read(Pipe[0], Text + Used, sizeof Text - 1 - Used)) > 0)
        Used += (size_t)Got;
    Text[Used] = 0;
    while (Used == sizeof Text - 1 && read(Pipe[0], Text, 1) > 0)
        ;
    close(Pipe[0]);
    waitpid(Id, &Status, 0);
    Line = strstr(Text, "*** STOP: ");
    if (!Shared->Stopped && Line != NULL) {
        unsigned long long N[4];
        if (sscanf(Line, "*** STOP: %x (%llx,%llx,%llx,%llx)", &Shared->StopCode, &N[0], &N[1], &N[2], &N[3]) == 5) {
            for (int I = 0; I < 4; I++)
                Shared->StopParameters[I] = N[I];
            Shared->Stopped = true;
        }
    }
    if (!Shared->Started)
        fprintf(stderr, "a system did not start: %s", Text);
}

static bool AsExpected(void)
{
    bool Same = Shared->Stopped && Shared->Expected && Shared->StopCode == Shared->Code;
    for (int I = 0; I < 4; I++)
        Same &= Shared->Parameters[I] == ANY || Shared->Parameters[I] == Shared->StopParameters[I];
    return Same;
}

static void PrintNumbers(uint32_t Code, const uint64_t *Parameters)
{
    printf("0x%X (", Code);
    for (int I = 0; I < 4; I++)
        if (Parameters[I] == ANY)
            printf("any%s", I < 3 ? ", " : ")");
        else
            printf("0x%llX%s", (unsigned long long)Parameters[I], I < 3 ? ", " : ")");
}

/* ---- the table ---- */
typedef enum { Caught, Otherwise, Missed, Elsewhere, NotApplicable, NoCase, VERDICTS } VERDICT;
static const char *const Verdicts[VERDICTS] = {"caught", "OTHERWISE", "MISSED", "elsewhere", "n/a", "no case"};

static char *Lines[1024];
static unsigned LineCount;

static void ReadReasons(const char *Path)
{
    char Line[512];
    FILE *File = fopen(Path, "r");
    while (File != NULL && LineCount < 1024 && fgets(Line, sizeof Line, File) != NULL)
        if (Line[0] != '#' && strchr(Line, '\t') != NULL)
            Lines[LineCount++] = strdup(Line);
    if (File != NULL)
        fclose(File);
}

/* The first line whose pattern fits the row: pattern, "n/a" or "elsewhere", text. */
static VERDICT Reason(const char *Row, char *Text, size_t Size)
{
    for (unsigned I = 0; I < LineCount; I++) {
        char Pattern[384], Kind[16], Rest[400];
        regex_t Regex;
        bool Fits;
        if (sscanf(Lines[I], "%383[^\t]\t%15[^\t]\t%399[^\n]", Pattern, Kind, Rest) != 3)
            continue;
        if (regcomp(&Regex, Pattern, REG_EXTENDED | REG_NOSUB) != 0)
            continue;
        Fits = regexec(&Regex, Row, 0, NULL, 0) == 0;
        regfree(&Regex);
        if (Fits) {
            snprintf(Text, Size, "%s", Rest);
            return strcmp(Kind, "n/a") == 0 ? NotApplicable : Elsewhere;
        }
    }
    return NoCase;
}

int main(int Count, char **Arguments)
{
    unsigned Sums[VERDICTS] = {0}, Rights = 0, Accused = 0, Index;
    bool Seen[sizeof Cases / sizeof *Cases] = {false};
    char Line[1024];
    FILE *Rows = fopen(Count > 1 ? Arguments[1] : "rows.tsv", "r");
    Shared = mmap(NULL, sizeof *Shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (Rows == NULL || Shared == MAP_FAILED) {
        fprintf(stderr, "matrix: cannot read the rows\n");
        return 2;
    }
    ReadReasons(Count > 2 ? Arguments[2] : "reasons.tsv");
    while (fgets(Line, sizeof Line, Rows) != NULL) {
        char *Row = strtok(Line, "\t\n"), *Name = strtok(NULL, "\t\n"), *When = strtok(NULL, "\n");
        char Text[400] = "";
        VERDICT Verdict = NoCase;
        if (Row == NULL || Name == NULL || When == NULL || (Count > 3 && strcmp(Row, Arguments[3]) != 0))
            continue;
        for (Index = 0; Index < sizeof Cases / sizeof *Cases; Index++) {
            if (strcmp(Cases[Index].Row, Row) != 0)
                continue;
            Seen[Index] = true;
            Run(Cases[Index].Options, Cases[Index].Sin);
            Verdict = AsExpected() ? Caught : Shared->Stopped ? Otherwise : Missed;
            printf("%-10s %-14s %s", Verdicts[Verdict], Row, When);
            if (Verdict != Caught) {
                printf("\n             expected ");
                PrintNumbers(Shared->Code, Shared->Parameters);
                if (Shared->Stopped) {
                    printf("\n             stopped  ");
                    PrintNumbers(Shared->StopCode, Shared->StopParameters);
                    printf(" %s", Shared->Words);
                }
            }
            if (Cases[Index].Right != NULL) {
                Rights++;
                Run(Cases[Index].Options, Cases[Index].Right);
                if (Shared->Stopped || !Shared->Started) {
                    Accused++;
                    printf("\n             ACCUSED though right: ");
                    PrintNumbers(Shared->StopCode, Shared->StopParameters);
                    printf(" %s", Shared->Words);
                }
            }
            printf("\n");
            break;
        }
        if (Index == sizeof Cases / sizeof *Cases) {
            Verdict = Reason(Row, Text, sizeof Text);
            printf("%-10s %-14s %s%s%s%s\n", Verdicts[Verdict], Row, When, *Text ? " [" : "", Text, *Text ? "]" : "");
        }
        Sums[Verdict]++;
    }
    fclose(Rows);
    for (Index = 0; Index < sizeof Cases / sizeof *Cases && Count <= 3; Index++)
        if (!Seen[Index]) {
            printf("a case for a row that does not exist: %s\n", Cases[Index].Row);
            Sums[Missed]++;
        }
    printf("\n%u caught as expected, %u caught otherwise, %u missed, %u caught in other tests, %u not applicable, %u without a "
           "case; "
           "%u right programs, %u accused\n",
           Sums[Caught], Sums[Otherwise], Sums[Missed], Sums[Elsewhere], Sums[NotApplicable], Sums[NoCase], Rights, Accused);
    return Sums[Otherwise] + Sums[Missed] + Accused != 0;
}
