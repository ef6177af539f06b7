/*
 * region.c - the kernel's regions: where they lie, how large they may grow, and who has which addresses.
 * SPDX-License-Identifier: MIT
 *
 *   SystemBase                                                                                      SystemEnd
 *   | 1 GiB none | NonPagedPool | gap | PagedPool | gap | SystemPtes | gap | ... | SystemData | ... |
 *   UserBase | User: slices of address spaces, which have their own records (vad.c), no bitmaps | UserEnd
 *
 * The limit of a region is its address space: from the options, else from the size of RAM (twice RAM where
 * fragmentation must not be what ends an allocation), cut down until everything fits the range the machine
 * offers. Growing costs page tables and frames only as runs are used. Each limit, and the commit limit, is a
 * way to be full; a caller sees NULL and the region's Failures goes up.
 *
 * A run of addresses is described by two bitmaps, a bit a page: Allocated, and Last for the last page of a
 * run. So the exact start and length of every run are known, and giving back anything but a run is noticed.
 * Kernel stacks and driver images leave a page out below each run (guard), taken in Allocated but never
 * backed.
 *
 * Search is first fit from a hint. Hint[n] bounds from below where a free run of 2^n or more pages (less than
 * 2^(n+1)) can begin; freeing lowers it, a search for exactly 2^n pages raises it. So the common sizes are
 * found without a scan.
 *
 * Invariants (MiValidateRegions quotes the numbers):
 *   R1  AddressPages is the number of bits set in Allocated.
 *   R2  Last is a subset of Allocated, and the last bit of every stretch of Allocated is in Last.
 *   R3  No free run of 2^n pages begins below Hint[n] (checked for n = 0).
 *   R4  PagesInUse <= AddressPages, PagesInUse <= PeakPages.
 *
 * Locks: MI_REGION.Lock (1st); counters are interlocked. Any IRQL.
 */
#include "mm/mi.h"

#define MI_GIB 0x40000000ull
#define MI_MIB 0x100000ull

static const struct {
    const CHAR *Name;
    BOOLEAN Resident, User;
    UCHAR Guard;
} MiRegionKinds[MmRegionMaximum] = {
    [MmRegionNone] = {"none", FALSE, FALSE, 0},
    [MmRegionNonPagedPool] = {"nonpaged pool", TRUE, FALSE, 0},
    [MmRegionPagedPool] = {"paged pool", FALSE, FALSE, 0},
    [MmRegionSystemPtes] = {"system PTEs", TRUE, FALSE, 0},
    [MmRegionSpecialPool] = {"special pool", TRUE, FALSE, 0},
    [MmRegionPagedSpecialPool] = {"paged special pool", FALSE, FALSE, 0},
    [MmRegionDriverImages] = {"driver images", TRUE, FALSE, 1},
    [MmRegionKernelStacks] = {"kernel stacks", TRUE, FALSE, 1},
    [MmRegionSystemData] = {"system data", TRUE, FALSE, 0},
    [MmRegionUser] = {"user", FALSE, TRUE, 0},
};

static ULONG64 MiClamp(ULONG64 Value, ULONG64 Low, ULONG64 High)
{
    return Value < Low ? Low : Value > High ? High : Value;
}

static ULONG64 MiLimitOf(MM_REGION Region, ULONG64 Ram)
{
    ULONG64 Least = MiClamp(4 * Ram, 16 * MI_MIB, 64 * MI_MIB);
    switch (Region) {
    case MmRegionNonPagedPool:
        return KeOptions.NonPagedPoolLimit ? KeOptions.NonPagedPoolLimit : MiClamp(2 * Ram, Least, 32 * MI_GIB);
    case MmRegionPagedPool:
        return KeOptions.PagedPoolLimit ? KeOptions.PagedPoolLimit : MiClamp(2 * Ram, Least, 32 * MI_GIB);
    case MmRegionSystemPtes:
        return KeOptions.SystemPteLimit ? KeOptions.SystemPteLimit : MiClamp(Ram, Least, 16 * MI_GIB);
    case MmRegionSpecialPool:
    case MmRegionPagedSpecialPool:
        return KeOptions.SpecialPoolLimit ? KeOptions.SpecialPoolLimit : MiClamp(2 * Ram, Least, 16 * MI_GIB);
    case MmRegionDriverImages:
        return KeOptions.ImageLimit ? KeOptions.ImageLimit : MiClamp(Ram / 2, Least, MI_GIB);
    case MmRegionKernelStacks:
        return KeOptions.KernelStackLimit ? KeOptions.KernelStackLimit : MiClamp(Ram / 4, Least, 4 * MI_GIB);
    case MmRegionSystemData:
        return MiClamp(Ram, Least, 8 * MI_GIB);
    case MmRegionUser:
        return HalFacts.UserEnd - HalFacts.UserBase;
    default:
        return 0;
    }
}

static ULONG64 MiRoundUp(ULONG64 Value, ULONG64 Unit)
{
    return (Value + Unit - 1) / Unit * Unit;
}

ULONG64 MiLayOutRegions(ULONG64 RamPages)
{
    ULONG64 Bytes[MmRegionMaximum] = {0}, Available = HalFacts.SystemEnd - HalFacts.SystemBase, Total, BitmapBytes = 0;
    for (ULONG Id = MmRegionNonPagedPool; Id < MmRegionMaximum; Id++) {
        Bytes[Id] = MiClamp(MiRoundUp(MiLimitOf(Id, RamPages << PAGE_SHIFT), PAGE_SIZE), 64 * PAGE_SIZE,
                            Id == MmRegionUser ? HalFacts.UserEnd - HalFacts.UserBase : Available);
    }
    for (;;) { /* the largest gives way until all fit, each with a gap of 1 GiB below */
        ULONG Largest = MmRegionNonPagedPool;
        Total = MI_GIB;
        for (ULONG Id = MmRegionNonPagedPool; Id < MmRegionUser; Id++) {
            Total += MiRoundUp(Bytes[Id], MI_GIB) + MI_GIB;
            Largest = Bytes[Id] > Bytes[Largest] ? Id : Largest;
        }
        if (Total <= Available || Bytes[Largest] <= MI_GIB) {
            break;
        }
        Bytes[Largest] /= 2;
    }
    /* A range of a few GiB has no room for gaps: then regions follow each other in steps that fit. */
    ULONG64 Step = Total <= Available ? MI_GIB : 2 * MI_MIB;
    ULONG64 Gap = Total <= Available ? MI_GIB : 2 * MI_MIB;
    ULONG_PTR Cursor = HalFacts.SystemBase + Gap;
    for (ULONG Id = MmRegionNonPagedPool; Id < MmRegionMaximum; Id++) {
        MI_REGION *Region = &MiState->Regions[Id];
        if (Step < MI_GIB && Id != MmRegionUser) {
            ULONG64 Share = (Available - Gap) / (MmRegionUser - 1) / Step * Step - Gap;
            Bytes[Id] = Bytes[Id] > Share ? Share : Bytes[Id];
        }
        Region->Id = Id;
        Region->Name = MiRegionKinds[Id].Name;
        Region->Resident = MiRegionKinds[Id].Resident;
        Region->User = MiRegionKinds[Id].User;
        Region->Guard = MiRegionKinds[Id].Guard;
        Region->Base = Region->User ? HalFacts.UserBase : Cursor;
        Region->Bits = (ULONG)(Bytes[Id] >> PAGE_SHIFT);
        Region->End = Region->Base + ((ULONG64)Region->Bits << PAGE_SHIFT);
        Cursor += MiRoundUp(Bytes[Id], Step) + Gap;
        BitmapBytes += Region->User ? 0 : 2 * MiRoundUp(Region->Bits, 64) / 8; /* user addresses: vad.c */
    }
    return MI_BYTES_TO_PAGES(BitmapBytes);
}

VOID MiInitializeRegions(PVOID Bitmaps)
{
    ULONG64 *Next = Bitmaps;
    for (ULONG Id = MmRegionNonPagedPool; Id < MmRegionMaximum; Id++) {
        MI_REGION *Region = &MiState->Regions[Id];
        if (Region->User) {
            continue;
        }
        Region->Allocated = Next;
        Region->Last = Next + MiRoundUp(Region->Bits, 64) / 64;
        Next = Region->Last + MiRoundUp(Region->Bits, 64) / 64;
    }
}

MI_REGION *MiRegionOfVa(ULONG_PTR Va)
{
    for (ULONG Id = MmRegionNonPagedPool; Id < MmRegionMaximum; Id++) {
        MI_REGION *Region = &MiState->Regions[Id];
        if (Va - Region->Base < Region->End - Region->Base) {
            return Region;
        }
    }
    return NULL;
}

/* ---- bitmaps ---- */
static inline BOOLEAN MiBit(const ULONG64 *Map, ULONG Index)
{
    return (Map[Index / 64] >> (Index % 64)) & 1;
}
static inline VOID MiSetBit(ULONG64 *Map, ULONG Index)
{
    Map[Index / 64] |= 1ull << (Index % 64);
}
static inline VOID MiClearBit(ULONG64 *Map, ULONG Index)
{
    Map[Index / 64] &= ~(1ull << (Index % 64));
}

/* The first bit equal to Value at or above From and below End; End if there is none. */
static ULONG MiNextBit(const ULONG64 *Map, ULONG From, ULONG End, BOOLEAN Value)
{
    while (From < End) {
        ULONG64 Word = (Value ? Map[From / 64] : ~Map[From / 64]) >> (From % 64);
        if (Word) {
            ULONG Found = From + (ULONG)__builtin_ctzll(Word);
            return Found < End ? Found : End;
        }
        From = (From / 64 + 1) * 64;
    }
    return End;
}

static VOID MiFillBits(ULONG64 *Map, ULONG From, ULONG Count, BOOLEAN Value)
{
    while (Count) {
        ULONG Shift = From % 64, Some = 64 - Shift < Count ? 64 - Shift : Count;
        ULONG64 Mask = (Some == 64 ? ~0ull : (1ull << Some) - 1) << Shift;
        if (Value) {
            Map[From / 64] |= Mask;
        } else {
            Map[From / 64] &= ~Mask;
        }
        From += Some;
        Count -= Some;
    }
}

static ULONG MiHintClass(ULONG Pages)
{
    ULONG Class = 31 - (ULONG)__builtin_clz(Pages);
    return Class < MI_REGION_HINTS ? Class : MI_REGION_HINTS - 1;
}

static const CHAR *MiValidateRegion(MI_REGION *Region, BOOLEAN AtRest)
{
    ULONG Set = 0;
    if (Region->User) {
        return NULL;
    }
    for (ULONG Word = 0; Word < MiRoundUp(Region->Bits, 64) / 64; Word++) {
        ULONG64 Allocated = Region->Allocated[Word], Last = Region->Last[Word];
        ULONG64 Next = Word + 1 < MiRoundUp(Region->Bits, 64) / 64 ? Region->Allocated[Word + 1] : 0;
        for (ULONG64 Left = Allocated; Left; Left &= Left - 1) {
            Set++;
        }
        if (Last & ~Allocated) {
            return "R2: a run's last page is not allocated";
        }
        ULONG64 Ends = Allocated & ~(Allocated >> 1 | Next << 63);
        if (Ends & ~Last) {
            return "R2: a stretch of allocated pages ends without the end of a run";
        }
    }
    if (Set != Region->AddressPages) {
        return "R1: AddressPages is not the number of allocated pages";
    }
    if (MiNextBit(Region->Allocated, 0, Region->Hint[0], FALSE) < Region->Hint[0]) {
        return "R3: a free page lies below the hint";
    }
    ULONG64 InUse = __atomic_load_n(&Region->PagesInUse, __ATOMIC_RELAXED);
    if (InUse > Region->AddressPages || (AtRest && InUse > __atomic_load_n(&Region->PeakPages, __ATOMIC_RELAXED))) {
        return "R4: more pages in use than allocated, or than ever";
    }
    return NULL;
}

/* The deep preset walks the region's bitmaps after every change; Lock is not held. */
static VOID MiCheckDeep(MI_REGION *Region)
{
#if NTMM_DEEP
    KiAcquireLock(&Region->Lock);
    const CHAR *Broken = MiValidateRegion(Region, FALSE);
    KiReleaseLock(&Region->Lock);
    MiAssertDeep(Broken);
#else
    UNREFERENCED_PARAMETER(Region);
#endif
}

ULONG_PTR MiAllocateVa(MI_REGION *Region, SIZE_T Pages)
{
    if (Region->User || Pages == 0 || Pages > Region->Bits || Pages + Region->Guard > Region->Bits) {
        return 0;
    }
    ULONG Count = (ULONG)Pages + Region->Guard, Class = MiHintClass(Count);
    KiAcquireLock(&Region->Lock);
    ULONG Position = Region->Hint[Class];
    for (;;) {
        Position = MiNextBit(Region->Allocated, Position, Region->Bits, FALSE);
        if (Region->Bits - Position < Count) {
            KiReleaseLock(&Region->Lock);
            return 0;
        }
        ULONG End = MiNextBit(Region->Allocated, Position, Position + Count, TRUE);
        if (End - Position >= Count) {
            break;
        }
        Position = End;
    }
    MiFillBits(Region->Allocated, Position, Count, TRUE);
    MiSetBit(Region->Last, Position + Count - 1);
    Region->AddressPages += Count;
    if (Count == 1u << Class) {
        Region->Hint[Class] = Position + Count;
    }
    KiReleaseLock(&Region->Lock);
    MiCheckDeep(Region);
    ULONG_PTR Va = Region->Base + ((ULONG_PTR)(Position + Region->Guard) << PAGE_SHIFT);
    KiMarkWritten(Va, Pages << PAGE_SHIFT);
    return Va;
}

BOOLEAN MiAllocateVaAt(MI_REGION *Region, ULONG_PTR Va, SIZE_T Pages)
{
    ULONG_PTR Position = (Va - Region->Base) >> PAGE_SHIFT;
    if (Region->User || Pages == 0 || Va < Region->Base || (Va & (PAGE_SIZE - 1)) || Position < Region->Guard ||
        Position >= Region->Bits || Pages > Region->Bits - Position) {
        return FALSE;
    }
    ULONG Start = (ULONG)Position - Region->Guard, Count = (ULONG)Pages + Region->Guard;
    KiAcquireLock(&Region->Lock);
    BOOLEAN Free = MiNextBit(Region->Allocated, Start, Start + Count, TRUE) == Start + Count;
    if (Free) {
        MiFillBits(Region->Allocated, Start, Count, TRUE);
        MiSetBit(Region->Last, Start + Count - 1);
        Region->AddressPages += Count;
    }
    KiReleaseLock(&Region->Lock);
    return Free;
}

static MI_VA_CHECK MiCheckVaLocked(MI_REGION *Region, ULONG_PTR Va, SIZE_T Pages, SIZE_T *Actual)
{
    ULONG Start = (ULONG)((Va - Region->Base) >> PAGE_SHIFT);
    *Actual = 0;
    if (Region->User || Va < Region->Base || Start >= Region->Bits || !MiBit(Region->Allocated, Start) ||
        Start < Region->Guard) {
        return MiVaNotAllocated;
    }
    ULONG Low = Start - Region->Guard;
    if (Low > 0 && MiBit(Region->Allocated, Low - 1) && !MiBit(Region->Last, Low - 1)) {
        return MiVaInside;
    }
    ULONG End = MiNextBit(Region->Last, Start, Region->Bits, TRUE) + 1;
    *Actual = End - Start;
    if (Pages > Region->Bits - Start ||
        (Pages > *Actual && MiNextBit(Region->Allocated, Start, Start + (ULONG)Pages, FALSE) != Start + (ULONG)Pages)) {
        return MiVaPartlyFree;
    }
    return Pages == *Actual ? MiVaExact : MiVaWrongSize;
}

MI_VA_CHECK MiCheckVa(MI_REGION *Region, ULONG_PTR Va, SIZE_T Pages, SIZE_T *Actual)
{
    KiAcquireLock(&Region->Lock);
    MI_VA_CHECK Check = MiCheckVaLocked(Region, Va, Pages, Actual);
    KiReleaseLock(&Region->Lock);
    return Check;
}

BOOLEAN MiVaIsAllocated(MI_REGION *Region, ULONG_PTR Va, SIZE_T Pages)
{
    ULONG Start = (ULONG)((Va - Region->Base) >> PAGE_SHIFT);
    if (Region->User || Pages == 0 || Va < Region->Base || Start >= Region->Bits || Pages > Region->Bits - Start) {
        return FALSE;
    }
    KiAcquireLock(&Region->Lock);
    BOOLEAN All = MiNextBit(Region->Allocated, Start, Start + (ULONG)Pages, FALSE) == Start + (ULONG)Pages;
    KiReleaseLock(&Region->Lock);
    return All;
}

VOID MiFreeVa(MI_REGION *Region, ULONG_PTR Va, SIZE_T Pages)
{
    ULONG Start = (ULONG)((Va - Region->Base) >> PAGE_SHIFT) - Region->Guard, Count = (ULONG)Pages + Region->Guard;
    KiAcquireLock(&Region->Lock);
    MiFillBits(Region->Allocated, Start, Count, FALSE);
    MiClearBit(Region->Last, Start + Count - 1);
    Region->AddressPages -= Count;
    for (ULONG Class = 0; Class < MI_REGION_HINTS; Class++) {
        ULONG Reach = (2u << Class) - 2; /* a run of the class that uses what is now free begins no lower */
        ULONG Lowest = Start > Reach ? Start - Reach : 0;
        if (Class == MI_REGION_HINTS - 1) {
            Lowest = 0;
        }
        if (Region->Hint[Class] > Lowest) {
            Region->Hint[Class] = Lowest;
        }
    }
    KiReleaseLock(&Region->Lock);
    MiCheckDeep(Region);
}

VOID MiChargeRegion(MI_REGION *Region, SIZE_T Pages)
{
    ULONG64 InUse = __atomic_add_fetch(&Region->PagesInUse, Pages, __ATOMIC_RELAXED);
    ULONG64 Peak = __atomic_load_n(&Region->PeakPages, __ATOMIC_RELAXED);
    while (Peak < InUse &&
           !__atomic_compare_exchange_n(&Region->PeakPages, &Peak, InUse, 1, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
    }
}

VOID MiReturnRegion(MI_REGION *Region, SIZE_T Pages)
{
    __atomic_fetch_sub(&Region->PagesInUse, Pages, __ATOMIC_RELAXED);
}

VOID MmQueryRegion(MM_REGION Id, MM_REGION_INFO *Info)
{
    MI_REGION *Region = &MiState->Regions[Id < MmRegionMaximum ? Id : MmRegionNone];
    Info->Region = Region->Id;
    Info->Name = MiRegionKinds[Region->Id].Name;
    Info->Base = Region->Base;
    Info->End = Region->End;
    Info->PagesInUse = __atomic_load_n(&Region->PagesInUse, __ATOMIC_RELAXED);
    Info->PeakPages = __atomic_load_n(&Region->PeakPages, __ATOMIC_RELAXED);
    Info->PageLimit = Region->Bits;
    Info->Failures = __atomic_load_n(&Region->Failures, __ATOMIC_RELAXED);
}

MM_REGION MmRegionOf(const volatile VOID *Va)
{
    MI_REGION *Region = MiRegionOfVa((ULONG_PTR)Va);
    return Region ? Region->Id : MmRegionNone;
}

const CHAR *MiValidateRegions(VOID)
{
    const CHAR *Broken = NULL;
    for (ULONG Id = MmRegionNonPagedPool; Id < MmRegionMaximum && !Broken; Id++) {
        KiAcquireLock(&MiState->Regions[Id].Lock);
        Broken = MiValidateRegion(&MiState->Regions[Id], TRUE);
        KiReleaseLock(&MiState->Regions[Id].Lock);
    }
    return Broken;
}
