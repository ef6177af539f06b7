/*
 * placeholder.c - reserved ranges that can be split, joined, and taken for something else. SPDX-License-Identifier: MIT
 *
 * Documented (VirtualAlloc2, VirtualFreeEx, which are ZwAllocateVirtualMemoryEx and ZwFreeVirtualMemory below):
 *
 *      free --RESERVE | RESERVE_PLACEHOLDER--> placeholder --RELEASE--> free
 *      placeholder --RELEASE | PRESERVE_PLACEHOLDER of a part--> two or three placeholders
 *      placeholders side by side --RELEASE | COALESCE_PLACEHOLDERS of exactly all of them--> one
 *      placeholder --RESERVE (| COMMIT) | REPLACE_PLACEHOLDER of exactly it--> an ordinary range
 *      such a range --RELEASE | PRESERVE_PLACEHOLDER of exactly it--> placeholder
 *      placeholder --ZwMapViewOfSectionEx, REPLACE_PLACEHOLDER of exactly it--> a view --ZwUnmapViewOfSectionEx, PRESERVE_PLACEHOLDER--> placeholder
 *
 * A placeholder is a private range (MMVAD.Placeholder) that nothing can be committed in. It begins and ends at any page.
 *
 * Locks: MI_SPACE.Lock is held by the caller. Watch: tests/ddi/placeholders.c.
 */
#include "mm/mi.h"

/* A range whose pages are gone. */
VOID MiBecomePlaceholder(PMMVAD Vad)
{
    Vad->Type = MiVadPrivate;
    Vad->Image = FALSE;
    Vad->Placeholder = TRUE;
    Vad->FromPlaceholder = FALSE;
    Vad->Protect = PAGE_NOACCESS;
}

/* The placeholder becomes those before, of and behind [Start, End). */
static NTSTATUS MiSplitPlaceholder(PMI_SPACE Space, PMMVAD Vad, ULONG_PTR Start, ULONG_PTR End)
{
    MMVAD Like = *Vad;
    ULONG_PTR OldEnd = Vad->End, Cuts[2] = {End, Start};
    if (Start == Vad->Start && End == OldEnd) {
        return STATUS_CONFLICTING_ADDRESSES; /* there is nothing to split */
    }
    for (ULONG Index = 0; Index < ARRAYSIZE(Cuts); Index++) { /* the hindmost first */
        ULONG_PTR Cut = Cuts[Index], Before = Vad->End;
        if (Cut <= Vad->Start || Cut >= Before) {
            continue;
        }
        Vad->End = Cut;
        MiChargeSpace(Space, -(LONG64)(Before - Cut), 0);
        Like.Start = Cut;
        Like.End = Before;
        if (MiInsertVad(Space, &Like) == NULL) {
            PMMVAD Behind = Before < OldEnd ? MiFindVad(Space, Before) : NULL;
            if (Behind) {
                MiRemoveVad(Space, Behind);
            }
            Vad->End = OldEnd;
            MiChargeSpace(Space, (LONG64)(OldEnd - Cut), 0);
            return STATUS_INSUFFICIENT_RESOURCES;
        }
    }
    return STATUS_SUCCESS;
}

static NTSTATUS MiCoalescePlaceholders(PMI_SPACE Space, PMMVAD First, ULONG_PTR Start, ULONG_PTR End)
{
    ULONG_PTR At = Start;
    ULONG Count = 0;
    for (PMMVAD Vad = First; At < End; Vad = MiNextVad(Space, Vad), Count++) {
        if (Vad == NULL || Vad->Start != At || Vad->End > End || !Vad->Placeholder) {
            return STATUS_CONFLICTING_ADDRESSES;
        }
        At = Vad->End;
    }
    if (Count < 2) {
        return STATUS_CONFLICTING_ADDRESSES;
    }
    while (First->End < End) {
        PMMVAD Next = MiFindVad(Space, First->End);
        ULONG_PTR Upto = Next->End;
        MiRemoveVad(Space, Next);
        MiChargeSpace(Space, (LONG64)(Upto - First->End), 0);
        First->End = Upto;
    }
    return STATUS_SUCCESS;
}

NTSTATUS MiReleaseToPlaceholder(PMI_SPACE Space, PMMVAD Vad, ULONG_PTR Start, ULONG_PTR End, BOOLEAN Coalesce)
{
    if (Coalesce) {
        return Start == Vad->Start ? MiCoalescePlaceholders(Space, Vad, Start, End) : STATUS_CONFLICTING_ADDRESSES;
    }
    if (End > Vad->End) {
        return STATUS_CONFLICTING_ADDRESSES;
    }
    if (Vad->Placeholder) {
        return MiSplitPlaceholder(Space, Vad, Start, End);
    }
    if (!Vad->FromPlaceholder || Start != Vad->Start || End != Vad->End) {
        return STATUS_CONFLICTING_ADDRESSES;
    }
    if (Vad->NoChange || !IsListEmpty(&Vad->Secures)) {
        return STATUS_INVALID_PAGE_PROTECTION;
    }
    MiFreeVadPages(Space, Vad);
    MiBecomePlaceholder(Vad);
    return STATUS_SUCCESS;
}
