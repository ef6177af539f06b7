/*
 * sysptes.c - system PTEs: second addresses for frames that somebody else owns. SPDX-License-Identifier: MIT
 *
 * MDL mappings, reserved mappings, contiguous memory and I/O space live in their own region. A mapping is a run of
 * addresses (region.c knows its exact start and length, mapping.c what it is for) whose entries are valid and own
 * nothing: the frames are kept by whoever locked them. Taking a mapping down clears the entries, flushes the TB, and
 * only then gives the addresses back, so that the next mapping there can never show the old frames.
 *
 * Running out is an answer (0 here, NULL to drivers), counted in the region's Failures. Where the caller asked to stop
 * then, it is 0x3F, or, with track_ptes=1 (Windows: TrackPtes in the registry), 0xD8 for the driver that holds most, with a pointer
 * to its name (a UNICODE_STRING) and its pages; the block lists the places that mapped.
 *
 * Locks: MI_REGION.Lock, TableLock, each by itself; entries belong to the owner of the run. Any IRQL.
 */
#include "mm/mi.h"

ULONG_PTR MiReserveSystemPtes(SIZE_T Pages, ULONG Guard)
{
    MI_REGION *Region = &MiState->Regions[MmRegionSystemPtes];
    ULONG_PTR Va = KiFailHere(KiResourceMapping, 0, Pages << PAGE_SHIFT) ? 0 : MiAllocateVa(Region, Pages + Guard);
    if (Va && !MiMakePageTables(Va, Pages)) {
        MiFreeVa(Region, Va, Pages + Guard);
        Va = 0;
    }
    if (Va == 0) {
        MiCount(&Region->Failures);
        return 0;
    }
    MiChargeRegion(Region, Pages + Guard);
    return Va;
}

VOID MiMapFrames(ULONG_PTR Va, SIZE_T Pages, const PFN_NUMBER *Array, PFN_NUMBER First, MMPTE Template)
{
    for (SIZE_T Done = 0; Done < Pages;) {
        ULONG_PTR At = Va + (Done << PAGE_SHIFT);
        PMMPTE Pte = MiPteOf(At);
        ULONG Piece = MiEntriesToTableEnd(At);
        Piece = Pages - Done < Piece ? (ULONG)(Pages - Done) : Piece;
        MiCountEntries(Pte, (LONG)Piece);
        for (ULONG Index = 0; Index < Piece; Index++, Done++) {
            MiWritePte(Pte + Index, MiPteWithPage(Template, Array ? Array[Done] : First + Done));
        }
    }
    (VOID) HalFillTb((PVOID)Va, Pages, 0);
}

VOID MiUnmapFrames(ULONG_PTR Va, SIZE_T Pages)
{
    for (SIZE_T Done = 0; Done < Pages;) {
        ULONG_PTR At = Va + (Done << PAGE_SHIFT);
        PMMPTE Pte = MiPteOf(At);
        ULONG Piece = MiEntriesToTableEnd(At), Cleared = 0;
        Piece = Pages - Done < Piece ? (ULONG)(Pages - Done) : Piece;
        Done += Piece;
        for (ULONG Index = 0; Pte && Index < Piece; Index++) {
            Cleared += MiPteIsZero(MiExchangePte(Pte + Index, MI_ZERO_PTE)) ? 0 : 1;
        }
        if (Cleared) {
            MiCountEntries(Pte, -(LONG)Cleared);
        }
    }
    HalFlushTb((PVOID)Va, Pages);
}

VOID MiReleaseSystemPtes(ULONG_PTR Va, SIZE_T Pages)
{
    MI_REGION *Region = &MiState->Regions[MmRegionSystemPtes];
    MiUnmapFrames(Va, Pages);
    MiReturnRegion(Region, Pages);
    MiFreeVa(Region, Va, Pages);
}

const CHAR *(*MmDriverNameRoutine)(ULONG_PTR Code);

/* Pages of the one driver that holds most, and its name; NULL: nobody knows names, and it is the one caller that does. */
static ULONG64 MiMostHeld(const CHAR **Name)
{
    struct {
        ULONG_PTR Key; /* the name, or the caller */
        ULONG64 Pages;
    } Holders[32];
    MM_MAPPING_INFO Info;
    ULONG64 Most = 0;
    ULONG Count = 0;
    *Name = NULL;
    for (ULONG Cursor = 0; MmQueryMappings(&Cursor, &Info);) {
        ULONG_PTR Caller = Info.CallerCount ? Info.Callers[Info.CallerCount - 1] : 0;
        ULONG Index = 0;
        for (ULONG Frame = Info.CallerCount; KiIsDriverCodeRoutine && Frame-- > 0;) {
            Caller = KiIsDriverCodeRoutine(Info.Callers[Frame]) ? Info.Callers[Frame] : Caller;
        }
        if (MmDriverNameRoutine) {
            Caller = (ULONG_PTR)MmDriverNameRoutine(Caller);
        }
        while (Index < Count && Holders[Index].Key != Caller) {
            Index++;
        }
        if (Index == ARRAYSIZE(Holders)) {
            continue;
        }
        if (Index == Count) {
            Holders[Count].Key = Caller;
            Holders[Count++].Pages = 0;
        }
        Holders[Index].Pages += Info.Pages;
        if (Holders[Index].Pages > Most) {
            Most = Holders[Index].Pages;
            *Name = MmDriverNameRoutine ? (const CHAR *)Caller : NULL;
        }
    }
    return Most;
}

VOID MiStopNoSystemPtes(SIZE_T Pages)
{
    MI_REGION *Region = &MiState->Regions[MmRegionSystemPtes];
    ULONG Free = Region->Bits - Region->AddressPages;
    if (!KeOptions.TrackPtes) {
        KiStop(NO_MORE_SYSTEM_PTES, "There are no system PTEs left to map an MDL, and the caller asked to stop then.", NULL, 0,
               Pages, Free, Region->Bits);
    }
    static WCHAR Letters[64]; /* they outlive the stop */
    static UNICODE_STRING Driver;
    const CHAR *Name;
    ULONG64 Most = MiMostHeld(&Name);
    USHORT Length = 0;
    for (; Name && Name[Length] && Length < ARRAYSIZE(Letters); Length++) {
        Letters[Length] = (UCHAR)Name[Length];
    }
    Driver = (UNICODE_STRING){(USHORT)(Length * sizeof(WCHAR)), sizeof(Letters), Letters};
    KiStop(DRIVER_USED_EXCESSIVE_PTES, "There are no system PTEs left to map an MDL; the holders of mappings are listed below.",
           NULL, Name ? (ULONG_PTR)&Driver : 0, Most, Free, Region->Bits);
}
