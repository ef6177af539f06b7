/*
 * links.c - which structure a fast fail (bug check 0x139) is about. SPDX-License-Identifier: MIT
 *
 * Its four parameters name none. A list routine of ours tells the entries that it compared; a binary driver's int 29h leaves what was in the
 * registers, where compilers keep them, the entry's neighbours at least.
 *
 *        Blink <------ entry ------> Flink        each should lead back to the entry; one that does not
 *          |  Flink ?          ? Blink  |         (forward, back: FALSE) is what the routine stopped for
 *
 * From a list routine: the entry it began with, the one beside it, and the neighbours. From registers: what looks like an entry
 * whose links disagree, then what else points into a block of pool. With other codes than 3 a register's structure is just shown with
 * its block: a tree's node, an object, a table of functions.
 *
 * The one that is most likely to blame is shown in the picture: in a freed block; else in pool with links that disagree; else in pool.
 *
 * Invariants: no address is twice in links; nothing is read that cannot be.
 * Watch it: tests/unit/story_test.c, tests/misuse/list_corrupt.c.
 */
#include "ex/exp.h"
#include "host.h"

#include <stdio.h>
#include <string.h>

static BOOLEAN Read(ULONG_PTR Address, uint64_t *Value)
{
    ULONG64 Word;
    if (Address < 0x1000 || (Address & 7) != 0 || !KiTryRead((const volatile ULONG64 *)Address, &Word))
        return FALSE;
    *Value = Word;
    return TRUE;
}

static ntmm_link LinkAt(const char *Name, ULONG_PTR Address)
{
    ntmm_link Link = {.address = Address};
    uint64_t Back;
    snprintf(Link.name, sizeof Link.name, "%s", Name);
    Link.list = Read(Address, &Link.flink) && Read(Address + 8, &Link.blink);
    Link.forward = Link.list && Read(Link.flink + 8, &Back) && Back == Address;
    Link.back = Link.list && Read(Link.blink, &Back) && Back == Address;
    return Link;
}

static EXP_BLOCK_STATE StateAt(ULONG_PTR Address)
{
    EXP_BLOCK_INFO Info;
    return ExpDescribeBlock((const VOID *)Address, &Info) ? Info.State : ExpBlockNone;
}

static BOOLEAN InPool(ULONG_PTR Address)
{
    EXP_BLOCK_STATE State = StateAt(Address);
    return State == ExpBlockLive || State == ExpBlockFreed;
}

static VOID Add(ntmm_bugcheck *Out, ntmm_link Link)
{
    for (unsigned I = 0; I < Out->link_count; I++)
        if (Out->links[I].address == Link.address)
            return;
    if (Out->link_count < NTMM_LINKS)
        Out->links[Out->link_count++] = Link;
}

/* Like an entry of a list that something is wrong with: both links lead to memory, and one of them not back. */
static BOOLEAN Disagrees(const ntmm_link *Link)
{
    uint64_t There;
    return Link->list && !(Link->forward && Link->back) && Read(Link->flink, &There) && Read(Link->blink, &There);
}

static VOID FromRegisters(const KI_BUGCHECK *Stop, ntmm_bugcheck *Out)
{
    static const char *const Names[KI_STOP_POINTERS] = {"rax", "rbx", "rdx", "rsi", "rdi", "rbp", "r8",
                                                        "r9",  "r10", "r11", "r12", "r13", "r14", "r15"};
    BOOLEAN Lists = Stop->Parameters[0] == FAST_FAIL_CORRUPT_LIST_ENTRY;
    for (int Pass = Lists ? 0 : 1; Pass < 2; Pass++)
        for (unsigned I = 0; I < KI_STOP_POINTERS; I++) {
            ntmm_link Link = LinkAt(Names[I], Stop->Pointers[I]);
            if (Pass == 0 ? Disagrees(&Link) && (Link.forward || Link.back || InPool(Link.address)) : InPool(Link.address)) {
                Link.list = Link.list && Lists;
                Add(Out, Link);
            }
        }
}

/* The entry whose block was freed while it was in a list, or NULL. */
static const ntmm_link *Freed(const ntmm_bugcheck *Out)
{
    for (unsigned I = 0; I < Out->link_count; I++)
        if (StateAt(Out->links[I].address) == ExpBlockFreed)
            return &Out->links[I];
    return NULL;
}

static VOID Tell(ntmm_bugcheck *Out)
{
    const ntmm_link *Entry = &Out->links[0], *Gone = Freed(Out);
    if (Gone)
        snprintf(Out->words, sizeof Out->words,
                 "A list is corrupt: the entry at 0x%016llX lies in a pool block that was freed while it was in the list.",
                 (unsigned long long)Gone->address);
    else if (Entry->list && !Entry->forward && !Entry->back)
        snprintf(Out->words, sizeof Out->words,
                 "A list is corrupt: no neighbour of the entry at 0x%016llX leads back to it: it is in no list any more, or "
                 "was overwritten.",
                 (unsigned long long)Entry->address);
    else if (Entry->list && !(Entry->forward && Entry->back))
        snprintf(Out->words, sizeof Out->words,
                 "A list is corrupt: the %s of the entry at 0x%016llX leads to one that does not lead back.",
                 Entry->forward ? "Blink" : "Flink", (unsigned long long)Entry->address);
}

const ntmm_link *HostFindLinks(const KI_BUGCHECK *Stop, ntmm_bugcheck *Out)
{
    const ntmm_link *Show;
    Out->link_count = 0;
    if (Stop->Code != KERNEL_SECURITY_CHECK_FAILURE || Stop->Words)
        return NULL;
    if (Stop->Registers) {
        FromRegisters(Stop, Out);
    } else if (Stop->Pointers[0]) {
        Add(Out, LinkAt("entry", Stop->Pointers[0]));
        if (Out->links[0].list) {
            Add(Out, LinkAt("Flink", Out->links[0].flink));
            Add(Out, LinkAt("Blink", Out->links[0].blink));
        }
        if (Stop->Pointers[1])
            Add(Out, LinkAt("beside it", Stop->Pointers[1]));
        Tell(Out);
    }
    Show = Freed(Out);
    for (int Pass = 0; Pass < 2 && !Show; Pass++)
        for (unsigned I = 0; I < Out->link_count && !Show; I++) {
            const ntmm_link *Link = &Out->links[I];
            if (InPool(Link->address) && Link->list && (Pass == 1 || !(Link->forward && Link->back)))
                Show = Link;
        }
    return Show;
}
