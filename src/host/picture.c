/*
 * picture.c - the bytes around what went wrong with a pool block, and what each of them is. SPDX-License-Identifier: MIT
 *
 *     bytes of the block and around it (b block, s slack, f freed, ! overwritten, . not the block's, ? not there):
 *       0x0000128040016040  62 62 62 62 62 62 62 62 62 62 62 62 00 5a 5a 5a  bbbbbbbbbbbb.ZZZ
 *                           b  b  b  b  b  b  b  b  b  b  b  b  !! s  s  s
 *
 * Taken at the stop itself, before anything else moves on: a read of each eight bytes that may fail, at any IRQL, without the heap.
 * A picture is made when something can be seen: slack behind a live block, or the pattern in a freed one, that is not what the
 * pools wrote there; or a bad access inside the block's page, whose place is shown then; or a list entry in it that a list was found corrupt at.
 * The links of such an entry are marked l, or x where the neighbour does not lead back (in a freed block the pattern says more).
 *
 * What the pools wrote there differs: ordinary pool has one pattern for slack; a page of special pool has one of its own, in front of the
 * block too (EXP_BLOCK_INFO.Fill, Front, Tail).
 *
 * Invariants: the picture starts on a multiple of 16; it has at most NTMM_PICTURE bytes; the first overwritten byte is in it.
 */
#include "ex/exp.h"
#include "host.h"

#include <string.h>

#define LINE 16u

/* Byte at Address, as it was when the stop was decided; FALSE: nobody can read it. */
static BOOLEAN ReadByte(const KI_BUGCHECK *Stop, ULONG_PTR Address, UCHAR *Byte)
{
    ULONG64 Word;
    if (Address - Stop->EvidenceAt < Stop->EvidenceBytes) {
        *Byte = Stop->Evidence[Address - Stop->EvidenceAt];
        return TRUE;
    }
    if (!KiTryRead((const volatile ULONG64 *)(Address & ~7ull), &Word))
        return FALSE;
    *Byte = (UCHAR)(Word >> (Address & 7) * 8);
    return TRUE;
}

/* What the byte at an offset of the block is, by what the pools know. */
static char MarkOf(const EXP_BLOCK_INFO *Info, LONG_PTR Offset, UCHAR Byte)
{
    SIZE_T At = (SIZE_T)Offset;
    if (Info->State == ExpBlockLive && Offset < 0 && (SIZE_T)-Offset <= Info->Front)
        return Byte != Info->Fill ? NTMM_MARK_DAMAGED : NTMM_MARK_OUTSIDE;
    if (Offset < 0 || At >= Info->Room)
        return NTMM_MARK_OUTSIDE;
    if (Info->State == ExpBlockFreed)
        return At < (Info->Room >= 32 ? 32u : 16u) && Byte != EXP_FILL_FREED ? NTMM_MARK_DAMAGED : NTMM_MARK_FREED;
    if (At < Info->Size)
        return NTMM_MARK_BLOCK;
    return At < Info->Size + Info->Tail && Byte != Info->Fill ? NTMM_MARK_DAMAGED : NTMM_MARK_SLACK;
}

/* The first byte of a range of offsets that is not what the pools left there. */
static BOOLEAN FindDamageIn(const KI_BUGCHECK *Stop, const EXP_BLOCK_INFO *Info, LONG_PTR From, LONG_PTR To, LONG_PTR *Where)
{
    for (LONG_PTR At = From; At < To; At++) {
        UCHAR Byte;
        if (ReadByte(Stop, Info->Start + (ULONG_PTR)At, &Byte) && MarkOf(Info, At, Byte) == NTMM_MARK_DAMAGED) {
            *Where = At;
            return TRUE;
        }
    }
    return FALSE;
}

/* Behind the block first: where both sides have changed, that is what the stop is about. */
static BOOLEAN FindDamage(const KI_BUGCHECK *Stop, const EXP_BLOCK_INFO *Info, LONG_PTR *Where)
{
    LONG_PTR From = Info->State == ExpBlockLive ? (LONG_PTR)Info->Size : 0;
    SIZE_T Bytes = Info->Tail > 2 * LINE ? Info->Tail : 2 * LINE;
    if (Bytes > Info->Room - (SIZE_T)From)
        Bytes = Info->Room - (SIZE_T)From;
    return FindDamageIn(Stop, Info, From, From + (LONG_PTR)Bytes, Where) ||
           (Info->State == ExpBlockLive && FindDamageIn(Stop, Info, -(LONG_PTR)Info->Front, 0, Where));
}

static uint8_t LinkMark(BOOLEAN LeadsBack)
{
    return LeadsBack ? NTMM_MARK_LINK : NTMM_MARK_WRONG_LINK;
}

VOID HostTakePicture(const KI_BUGCHECK *Stop, const VOID *Block, const ntmm_link *Link, ntmm_bugcheck *Out)
{
    EXP_BLOCK_INFO Info;
    LONG_PTR Center;
    BOOLEAN Access = Stop->Block == NULL && HostIsAccess(Stop->Code); /* Block is the address that was used */
    Out->picture_count = 0;
    if (Block == NULL || !ExpDescribeBlock(Block, &Info) || Info.State == ExpBlockNever || Info.State == ExpBlockNone)
        return;
    if (Info.Room > MAXLONG || Info.Room == 0)
        return;
    Center = Info.Offset;
    if (!Access && Link == NULL && !FindDamage(Stop, &Info, &Center))
        return;
    ULONG_PTR First = ((Info.Start + (ULONG_PTR)Center) & ~(ULONG_PTR)(LINE - 1)) - LINE * 2;
    ULONG_PTR Low = ((Info.Start + (ULONG_PTR)(Center < 0 ? Center : 0)) & ~(ULONG_PTR)(LINE - 1)) - LINE;
    if (First < Low)
        First = Low;
    BOOLEAN Seen = FALSE;
    Out->picture_start = First;
    for (ULONG Index = 0; Index < NTMM_PICTURE; Index++) {
        LONG_PTR Offset = (LONG_PTR)(First + Index - Info.Start);
        UCHAR Byte = 0;
        if (!ReadByte(Stop, First + Index, &Byte)) {
            Out->picture_marks[Index] = NTMM_MARK_UNREADABLE;
        } else {
            Out->picture_marks[Index] = (uint8_t)MarkOf(&Info, Offset, Byte);
            if (Link != NULL && First + Index - Link->address < 16 && Info.State == ExpBlockLive)
                Out->picture_marks[Index] = First + Index - Link->address < 8 ? LinkMark(Link->forward) : LinkMark(Link->back);
            Seen = TRUE;
        }
        Out->picture_bytes[Index] = Byte;
    }
    Out->picture_count = Seen ? NTMM_PICTURE : 0;
}
