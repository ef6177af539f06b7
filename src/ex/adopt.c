/*
 * adopt.c - a class that needs pages takes over those that hardly hold anything any more. SPDX-License-Identifier: MIT
 *
 * Where the sizes that a program uses drift, the blocks of the old sizes that live long are scattered over pages that nobody else
 * can use: one block of 128 bytes holds 4 KiB. So before a centre asks for pages of its own it looks for a slab of another class
 * that was sparse at the last trim (center.c), is less than half used, and has room for an eighth of what the class
 * would have of it. That slab becomes a host: it hands out nothing any more, and over its pages lies a new slab of the other class, its
 * guest, which has those blocks that overlap no block of the host in use:
 *
 *   host   (class 128)  |..|..|..|XX|..|..|..|..|..|..|..|..|XX|..|..|...     X: in use, by a program or in a magazine
 *   guest  (class 448)  |  448   | closed |  448   |  448   | closed |...     closed: not the guest's yet
 *
 * As the host's blocks end, the closed ones that they lay in open. With the last one the host is gone, and the guest a slab
 * like any other.
 *
 *   Listed --ExpAdopt--> Host --last block: ExpYield--> Released, a ghost (meta.c)
 *
 * Whose block is it? The page map names the guest from the beginning, and the fast paths free the guest's blocks as ever: the word of
 * a closed number is 0, so that a free of a host's block always finds its way to the general path. There the words decide: of a
 * host's and a guest's block over the same bytes at most one is live, used or in a magazine (ExpFindSlab, ExpSlabOf). A free of a
 * guest's block that is under way may find a host that goes at that moment, so it looks with the guest's centre locked.
 *
 * Who can be a host: a slab of blocks of a page or less that has no tail and is none, is no thread's home, and is not a guest that
 * still has a host. A guest has no tail either: classes that have tails neither give nor take.
 *
 * Invariants:
 *   A1 a host's guest names it as its Host and lies over the same pages; the host has no other block but those in use: BlockCount == Used
 *   A2 a number of a guest is closed (word 0, neither Free nor in a magazine nor counted) exactly while a block of the host in use
 *      overlaps it
 *   A3 a host drains, and is on no list
 *
 * Locks: host's and guest's centres together, the larger index first.
 */
#include "ex/exp.h"

#define TRIES      64u
#define LEAST_PART 8u

/* Slabs of the class may be hosts and guests. */
static BOOLEAN ExpMayShare(const EXP_CLASS *Class)
{
    return Class->PagesPerBlock == 1 && Class->TailOffset == PAGE_SIZE;
}

VOID ExpNoteDonor(const EXP_CENTER *Center, BOOLEAN Gives)
{
    ULONG Index = (ULONG)(Center - ExpState.Centers);
    ULONG64 *Donors = &ExpState.Donors[Index / EXP_BINS], Bit = 1ull << (Index % EXP_BINS);
    if (Gives && ExpMayShare(&ExpState.Classes[Index % EXP_BINS]))
        __atomic_fetch_or(Donors, Bit, __ATOMIC_RELAXED);
    else
        __atomic_fetch_and(Donors, ~Bit, __ATOMIC_RELAXED);
}

/* Whether no block of the host in use lies in these bytes of a page. */
static BOOLEAN ExpIsRoom(const EXP_SLAB *Host, ULONG Page, ULONG Offset, ULONG Bytes)
{
    ULONG First = Offset / Host->BlockSize, Last = (Offset + Bytes - 1) / Host->BlockSize;
    for (; First <= Last && First < ExpPerPage(Host); First++)
        if (!ExpIsFree(Host, Page * ExpStride(Host) + First))
            return FALSE;
    return TRUE;
}

/* How many blocks of the class such a guest would have at once. */
static ULONG ExpCountRoom(const EXP_SLAB *Host, const EXP_CLASS *Class)
{
    ULONG Page, Index, Count = 0;
    for (Page = 0; Page < Host->Run.Pages; Page++)
        for (Index = 0; Index < Class->PerPage; Index++)
            Count += ExpIsRoom(Host, Page, Index * Class->Size, Class->Size);
    return Count;
}

/* One more block for a guest. */
static VOID ExpOpenNumber(EXP_SLAB *Guest, ULONG Number)
{
    Guest->Free[Number / 64] |= 1ull << (Number % 64);
    Guest->BlockCount++;
}

static EXP_SLAB *ExpFindHost(EXP_CENTER *Donor, const EXP_CLASS *Class, ULONG *Tries)
{
    EXP_SLAB *Slab;
    ULONG List;
    for (List = 0; List < EXP_HOST_LISTS; List++) {
        for (Slab = Donor->Lists[List]; Slab != NULL && *Tries != 0; Slab = Slab->Next) {
            ULONG Capacity = Slab->Run.Pages * Class->PerPage;
            --*Tries;
            if (Slab->Tail != NULL || Slab->Host != NULL || Slab->Home != NULL || Capacity > EXP_MAX_BLOCKS)
                continue;
            if (Slab->Used == 0)
                continue; /* about to be released */
            if (LEAST_PART * ExpCountRoom(Slab, Class) >= Capacity)
                return Slab;
        }
    }
    return NULL;
}

static VOID ExpLockBoth(EXP_CENTER *One, EXP_CENTER *Other)
{
    KiAcquireLock(One > Other ? &One->Lock : &Other->Lock);
    KiAcquireLock(One > Other ? &Other->Lock : &One->Lock);
}

/* The locks are held. FALSE: the donor has none to give, or there is no memory for the record. */
static BOOLEAN ExpAdoptFrom(EXP_CENTER *Donor, EXP_CENTER *Center, ULONG ClassIndex, ULONG *Tries)
{
    const EXP_CLASS *Class = &ExpState.Classes[ClassIndex];
    EXP_SLAB *Host = ExpIsSparse(Donor) ? ExpFindHost(Donor, Class, Tries) : NULL, *Guest;
    ULONG Page, Index, Free;
    if (Host == NULL)
        return FALSE;
    Guest = ExpCreateGuest(Host, ClassIndex);
    if (Guest == NULL)
        return FALSE;
    for (Page = 0; Page < Host->Run.Pages; Page++)
        for (Index = 0; Index < Class->PerPage; Index++)
            if (ExpIsRoom(Host, Page, Index * Class->Size, Class->Size))
                ExpOpenNumber(Guest, Page * ExpStride(Guest) + Index);
    ExpUnlink(Donor, Host);
    Free = (ULONG)Host->BlockCount - Host->Used;
    Host->BlockCount = Host->Used;
    Host->State = ExpSlabHost;
    Host->Guest = Guest;
    __atomic_store_n(&Host->Draining, TRUE, __ATOMIC_RELAXED);
    Donor->Blocks -= Free;
    Donor->FreeBlocks -= Free;
    Donor->Pages -= Host->Run.Pages;
    Center->Pages += Guest->Run.Pages;
    ExpEnterSlab(Center, Guest);
    ExpMapRun(&Guest->Run);
    __atomic_add_fetch(&ExpState.Adopted, 1, __ATOMIC_RELAXED);
    return TRUE;
}

BOOLEAN ExpAdopt(EXP_CENTER *Center)
{
    ULONG Bin = (ULONG)(Center - ExpState.Centers), Kind = Bin / EXP_BINS, Index = Bin % EXP_BINS, Tries = TRIES;
    const EXP_CLASS *Class = &ExpState.Classes[Index];
    ULONG64 Donors = __atomic_load_n(&ExpState.Donors[Kind], __ATOMIC_RELAXED) & ~(1ull << Index);
    BOOLEAN Done = FALSE;
    if (!ExpMayShare(Class))
        return FALSE;
    for (; Donors != 0 && Tries != 0 && !Done; Donors &= Donors - 1) {
        ULONG Other = (ULONG)__builtin_ctzll(Donors), Before = Tries;
        EXP_CENTER *Donor = &ExpState.Centers[Kind * EXP_BINS + Other];
        ExpLockBoth(Donor, Center);
        Done = ExpAdoptFrom(Donor, Center, Index, &Tries);
        if (!Done && (Before == Tries || !ExpIsSparse(Donor))) /* nothing that could be a host at all */
            __atomic_fetch_and(&ExpState.Donors[Kind], ~(1ull << Other), __ATOMIC_RELAXED);
        KiReleaseLock(&Donor->Lock);
        KiReleaseLock(&Center->Lock);
    }
    return Done;
}

BOOLEAN ExpYield(EXP_CENTER *Center, EXP_SLAB *Host, ULONG Number, EXP_VICTIMS *Victims)
{
    EXP_SLAB *Guest = Host->Guest; /* stays: the block in hand is in use */
    EXP_CENTER *Other = &ExpState.Centers[ExpBinOfSlab(Guest)];
    const EXP_CLASS *Class = &ExpState.Classes[Guest->Run.Class];
    ULONG Page = Number / ExpStride(Host), Offset = Number % ExpStride(Host) * Host->BlockSize, Index, Last, Opened = 0;
    BOOLEAN Done;
    if (Other < Center) {
        KiAcquireLock(&Other->Lock);
    } else {
        KiReleaseLock(&Center->Lock);
        ExpLockBoth(Center, Other);
    }
    Done = !ExpIsFree(Host, Number);
    if (Done) {
        Host->Free[Number / 64] |= 1ull << (Number % 64);
        Host->Used--;
        Host->BlockCount--;
        Center->Blocks--;
        Last = (Offset + Host->BlockSize - 1u) / Class->Size;
        for (Index = Offset / Class->Size; Index <= Last && Index < Class->PerPage; Index++) {
            if (ExpIsRoom(Host, Page, Index * Class->Size, Class->Size)) {
                ExpOpenNumber(Guest, Page * ExpStride(Guest) + Index);
                Opened++;
            }
        }
        Other->Blocks += Opened;
        Other->FreeBlocks += Opened;
        if (Opened != 0)
            ExpSettle(Other, Guest);
        if (Host->Used == 0) {
            __atomic_store_n(&Guest->Host, NULL, __ATOMIC_RELEASE);
            Host->State = ExpSlabReleased;
            ExpEnterGhost(&Host->Run);
            if (Guest->Used == 0)
                ExpNoteEmpty(Other, Guest, Victims, TRUE);
        }
    }
    KiReleaseLock(&Other->Lock);
    return Done;
}

static BOOLEAN ExpIsInside(const EXP_SLAB *Slab, ULONG_PTR Address, ULONG *Number)
{
    *Number = ExpNumberAround(Slab, Address);
    return Address - ExpBlockAddress(Slab, *Number) < Slab->BlockSize;
}

/* The one that has a live block there; else the guest, unless it never had one there and the host did. */
EXP_SLAB *ExpHostOrGuest(EXP_SLAB *Guest, EXP_SLAB *Host, ULONG_PTR Address)
{
    ULONG Number;
    EXP_WORD Word = 0;
    if (ExpIsInside(Guest, Address, &Number))
        Word = ExpReadWord(&ExpWordsOf(Guest)[Number]);
    if ((Word & EXP_WORD_LIVE) || !ExpIsInside(Host, Address, &Number))
        return Guest;
    return (ExpReadWord(&ExpWordsOf(Host)[Number]) & EXP_WORD_LIVE) || Word == 0 ? Host : Guest;
}

EXP_SLAB *ExpFindShared(EXP_SLAB *Guest, ULONG_PTR Address)
{
    EXP_CENTER *Center = &ExpState.Centers[ExpBinOfSlab(Guest)];
    EXP_SLAB *Host;
    KiAcquireLock(&Center->Lock);
    Host = Guest->Host;
    if (Host != NULL)
        Guest = ExpHostOrGuest(Guest, Host, Address);
    KiReleaseLock(&Center->Lock);
    return Guest;
}
