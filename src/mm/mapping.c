/*
 * mapping.c - who holds which mapping: a record for each run of system PTEs.
 * SPDX-License-Identifier: MIT
 *
 * The region's bitmaps know where runs of addresses begin and end; the record knows what a run is for, what was mapped
 * there, and who did it (return addresses). Taking a mapping down is checked against it (bug check 0xDA), and when system
 * PTEs run out the list of holders comes from here (0xD8). User mappings of MDLs have none: vad.c knows them.
 *
 *     MI_MAPPINGS.Buckets[hash of the address] -> MI_MAPPING -> MI_MAPPING -> NULL        in frames, through the window
 *                .Free -> MI_MAPPING ...                                                  32 to a frame, kept till the end
 *
 * Invariants (MiValidateMappings quotes the numbers):
 *   K1  A record is in the bucket of its address, once; Count counts them.
 *   K2  The run of a record in system PTEs is exactly one run of the region.
 *   K3  Mapped + Guard <= Pages; a kind other than reserved shows at least one page.
 *
 * Locks: MI_MAPPINGS.Lock, a leaf; never held while frames are taken. Any IRQL.
 * Watch: MmQueryMappings; `ntmm map`; the block of bug checks 0x3F and 0xD8.
 */
#include "mm/mi.h"

static inline ULONG MiBucketOf(ULONG_PTR Va)
{
    ULONG64 Page = Va >> PAGE_SHIFT;
    return (ULONG)((Page ^ Page >> 10 ^ Page >> 20) % MI_MAPPING_BUCKETS);
}

/* A frame of fresh records onto the free list. FALSE: no frame to be had. */
static BOOLEAN MiGrowMappings(VOID)
{
    MI_MAPPINGS *Mappings = &MiState->Mappings;
    PFN_NUMBER Page;
    BOOLEAN Dirty;
    if (!MiChargeCommitment(1, HighPoolPriority)) {
        return FALSE;
    }
    if (MiTakeFrames(1, MI_TAKE_ZEROED, NULL, &Page, &Dirty) == 0) {
        MiReturnCommitment(1);
        return FALSE;
    }
    MI_MAPPING *Fresh = HalWindow(Page);
    KiAcquireLock(&Mappings->Lock);
    for (ULONG Index = 0; Index < PAGE_SIZE / sizeof(*Fresh); Index++) {
        Fresh[Index].Next = Mappings->Free;
        Mappings->Free = &Fresh[Index];
    }
    Mappings->Frames++;
    KiReleaseLock(&Mappings->Lock);
    return TRUE;
}

BOOLEAN MiRecordMapping(const MI_MAPPING *Like)
{
    MI_MAPPINGS *Mappings = &MiState->Mappings;
    MI_MAPPING *Record;
    ULONG_PTR Callers[MI_MAPPING_CALLERS];
    ULONG Count = HalCaptureStack(NULL, Callers, MI_MAPPING_CALLERS, HAL_STACK_FAST);
    for (;;) {
        KiAcquireLock(&Mappings->Lock);
        Record = Mappings->Free;
        if (Record) {
            break;
        }
        KiReleaseLock(&Mappings->Lock);
        if (!MiGrowMappings()) {
            return FALSE;
        }
    }
    Mappings->Free = Record->Next;
    *Record = *Like;
    Record->CallerCount = (UCHAR)Count;
    for (ULONG Index = 0; Index < Count; Index++) {
        Record->Callers[Index] = Callers[Index];
    }
    ULONG Bucket = MiBucketOf(Like->Va);
    Record->Next = Mappings->Buckets[Bucket];
    Mappings->Buckets[Bucket] = Record;
    Mappings->Count++;
    KiReleaseLock(&Mappings->Lock);
    return TRUE;
}

static MI_MAPPING **MiFindLocked(ULONG_PTR Va)
{
    MI_MAPPING **Link = &MiState->Mappings.Buckets[MiBucketOf(Va)];
    while (*Link && (*Link)->Va != Va) {
        Link = &(*Link)->Next;
    }
    return Link;
}

BOOLEAN MiFindMapping(ULONG_PTR Va, MI_MAPPING *Copy)
{
    KiAcquireLock(&MiState->Mappings.Lock);
    MI_MAPPING *Record = *MiFindLocked(Va);
    if (Record) {
        *Copy = *Record;
    }
    KiReleaseLock(&MiState->Mappings.Lock);
    return Record != NULL;
}

BOOLEAN MiForgetMapping(ULONG_PTR Va)
{
    MI_MAPPINGS *Mappings = &MiState->Mappings;
    KiAcquireLock(&Mappings->Lock);
    MI_MAPPING **Link = MiFindLocked(Va), *Record = *Link;
    if (Record) {
        *Link = Record->Next;
        Record->Kind = MiMappingNone;
        Record->Next = Mappings->Free;
        Mappings->Free = Record;
        Mappings->Count--;
    }
    KiReleaseLock(&Mappings->Lock);
    return Record != NULL;
}

BOOLEAN MiSetReservedMapping(ULONG_PTR Va, SIZE_T Mapped, PMDL Mdl, PFN_NUMBER First)
{
    KiAcquireLock(&MiState->Mappings.Lock);
    MI_MAPPING *Record = *MiFindLocked(Va);
    BOOLEAN Good = Record && Record->Kind == MiMappingReserved && (Record->Mapped == 0) != (Mapped == 0);
    if (Good) {
        Record->Mapped = Mapped;
        Record->Mdl = Mdl;
        Record->First = First;
    }
    KiReleaseLock(&MiState->Mappings.Lock);
    return Good;
}

BOOLEAN MiNextMapping(ULONG *Cursor, ULONG *Skip, BOOLEAN (*Wanted)(const MI_MAPPING *, PVOID), PVOID Context, MI_MAPPING *Copy)
{
    BOOLEAN Found = FALSE;
    KiAcquireLock(&MiState->Mappings.Lock);
    while (*Cursor < MI_MAPPING_BUCKETS && !Found) {
        ULONG Place = 0;
        for (MI_MAPPING *Record = MiState->Mappings.Buckets[*Cursor]; Record && !Found; Record = Record->Next, Place++) {
            if (Place >= *Skip && (Wanted == NULL || Wanted(Record, Context))) {
                *Copy = *Record;
                *Skip = Place + 1;
                Found = TRUE;
            }
        }
        if (!Found) {
            ++*Cursor;
            *Skip = 0;
        }
    }
    KiReleaseLock(&MiState->Mappings.Lock);
    return Found;
}

ULONG64 MmQueryMappings(ULONG *Cursor, MM_MAPPING_INFO *Info)
{
    MI_MAPPING Copy;
    ULONG Bucket = *Cursor >> 16, Skip = *Cursor & 0xFFFF;
    if (!MiNextMapping(&Bucket, &Skip, NULL, NULL, &Copy)) {
        return 0;
    }
    *Cursor = Bucket << 16 | Skip;
    Info->Va = Copy.Va;
    Info->Pages = Copy.Pages;
    Info->Kind = Copy.Kind == MiMappingMdl          ? "MDL"
                 : Copy.Kind == MiMappingIo         ? "I/O space"
                 : Copy.Kind == MiMappingReserved   ? "reserved"
                 : Copy.Kind == MiMappingContiguous ? "contiguous memory"
                 : Copy.Kind == MiMappingNonCached  ? "noncached memory"
                                                    : "view";
    Info->Mdl = Copy.Mdl;
    Info->CallerCount = Copy.CallerCount;
    for (ULONG Index = 0; Index < Copy.CallerCount; Index++) {
        Info->Callers[Index] = Copy.Callers[Index];
    }
    return Copy.Pages;
}

const CHAR *MiValidateMappings(VOID)
{
    const CHAR *Broken = NULL;
    ULONG64 Count = 0;
    for (ULONG Bucket = 0; Bucket < MI_MAPPING_BUCKETS && !Broken; Bucket++) {
        KiAcquireLock(&MiState->Mappings.Lock);
        for (MI_MAPPING *Record = MiState->Mappings.Buckets[Bucket]; Record && !Broken; Record = Record->Next) {
            SIZE_T Actual;
            Count++;
            if (MiBucketOf(Record->Va) != Bucket || Record->Kind == MiMappingNone) {
                Broken = "K1: a mapping is recorded in the wrong place";
            } else if (MiCheckVa(&MiState->Regions[MmRegionSystemPtes], Record->Va, Record->Pages, &Actual) != MiVaExact) {
                Broken = "K2: a mapping's addresses are not one run of system PTEs";
            } else if (Record->Mapped + Record->Guard > Record->Pages ||
                       (Record->Mapped == 0 && Record->Kind != MiMappingReserved)) {
                Broken = "K3: a mapping shows more pages than it has addresses, or none";
            }
        }
        KiReleaseLock(&MiState->Mappings.Lock);
    }
    KiAcquireLock(&MiState->Mappings.Lock);
    BOOLEAN Same = Count == MiState->Mappings.Count;
    KiReleaseLock(&MiState->Mappings.Lock);
    return Broken ? Broken : Same ? NULL : "K1: mappings are miscounted";
}
