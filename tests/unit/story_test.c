/*
 * story_test.c - what a report tells of typical errors: who did what to which block, who allocated and freed it, what the bytes
 * around the damage look like, the usual cause and the cure. SPDX-License-Identifier: MIT
 *
 * Each story is a list of pieces that must be in the report in this order; addresses and lines are not compared.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <ntddk.h>
#include <ntmm.h>

#define TAG      'yrtS'
#define NOINLINE __attribute__((noinline))
/* the sins are the verifier's to see, not a sanitizer's */
#define SIN static NOINLINE __attribute__((no_sanitize("address", "thread"))) void

static char Text[65536];
static volatile UCHAR Kept;
static PUCHAR volatile Block;
static PMDL volatile Mdl;

static NOINLINE void MakeBuffer(SIZE_T Size)
{
    Block = ExAllocatePoolWithTag(NonPagedPoolNx, Size, TAG);
    Kept = 1; /* no tail call */
}
static NOINLINE void GiveBack(PVOID Memory)
{
    ExFreePoolWithTag(Memory, TAG);
    Kept = 2;
}
SIN Scribble(volatile UCHAR *At, const char *Words)
{
    while (*Words)
        *At++ = (UCHAR)*Words++;
}
SIN DoubleFree(void *Unused)
{
    (void)Unused;
    MakeBuffer(100);
    GiveBack(Block);
    GiveBack(Block);
    Kept = 9;
}
SIN UseAfterFree(void *Unused)
{
    (void)Unused;
    MakeBuffer(64);
    GiveBack(Block);
    Scribble(Block + 8, "x");
    Kept = 9;
}
SIN Overrun(void *Unused)
{
    (void)Unused;
    MakeBuffer(64);
    Scribble(Block + 60, "abcdefg");
    Kept = 9;
}
SIN SmallOverrun(void *Unused)
{
    (void)Unused;
    MakeBuffer(13);
    Scribble(Block + 11, "abc");
    GiveBack(Block);
    Kept = 9;
}
SIN Underrun(void *Unused)
{
    (void)Unused;
    MakeBuffer(64);
    Scribble(Block - 4, "abc");
    GiveBack(Block);
    Kept = 9;
}
SIN UnlockTwice(void *Unused)
{
    (void)Unused;
    MakeBuffer(5000);
    Mdl = IoAllocateMdl(Block, 5000, FALSE, FALSE, NULL);
    MmProbeAndLockPages(Mdl, KernelMode, IoWriteAccess);
    MmUnlockPages(Mdl);
    MmUnlockPages(Mdl);
    Kept = 3;
}
SIN FreeResource(void *Unused)
{
    (void)Unused;
    MakeBuffer(sizeof(ERESOURCE) + 3);
    ExInitializeResourceLite((PERESOURCE)Block);
    GiveBack(Block);
    Kept = 9;
}

/* Two blocks side by side; the second is free, and handed out again after the first was overrun. */
SIN OverrunIntoFree(void *Unused)
{
    PUCHAR Blocks[60], First = NULL, Second = NULL;
    (void)Unused;
    for (int I = 0; I < 60; I++)
        Blocks[I] = ExAllocatePoolWithTag(NonPagedPoolNx, 64, TAG);
    for (int I = 0; I < 60 && !Second; I++)
        for (int J = 0; J < 60; J++)
            if (Blocks[J] == Blocks[I] + 64) {
                First = Blocks[I];
                Second = Blocks[J];
            }
    GiveBack(Second);
    Scribble(First + 62, "xyz");
    for (int I = 0; I < 1000; I++)
        Block = ExAllocatePoolWithTag(NonPagedPoolNx, 64, TAG);
    Kept = 9;
}

typedef struct _ITEM {
    ULONG64 Number;
    LIST_ENTRY Link;
    UCHAR Rest[40];
} ITEM;
static LIST_ENTRY Head;
static ITEM *volatile Items[3];

static NOINLINE ITEM *MakeItem(void)
{
    ITEM *Item = ExAllocatePoolWithTag(NonPagedPoolNx, sizeof(ITEM), TAG);
    Item->Number = 0x1122334455667788;
    return Item;
}
SIN MakeList(void)
{
    InitializeListHead(&Head);
    for (int I = 0; I < 3; I++) {
        Items[I] = MakeItem();
        InsertTailList(&Head, &Items[I]->Link);
    }
    Kept = 4;
}
SIN RemoveTwice(void *Unused)
{
    (void)Unused;
    MakeList();
    RemoveEntryList(&Items[1]->Link);
    RemoveEntryList(&Items[1]->Link);
    Kept = 9;
}
SIN FreeLinked(void *Unused)
{
    (void)Unused;
    MakeList();
    GiveBack(Items[0]);
    RemoveEntryList(&Items[1]->Link);
    Kept = 9;
}
SIN InsertAtBadHead(void *Unused)
{
    (void)Unused;
    MakeList();
    Items[2]->Link.Flink = &Items[0]->Link;
    InsertTailList(&Head, &Items[1]->Link);
    Kept = 9;
}
SIN LockedListBroken(void *Unused)
{
    static KSPIN_LOCK Lock;
    (void)Unused;
    MakeList();
    Items[0]->Link.Blink = &Items[2]->Link;
    ExInterlockedRemoveHeadList(&Head, &Lock);
    Kept = 9;
}
/* What a binary driver's RemoveEntryList leaves in the registers: the neighbours, or more. */
SIN FailFast29(ULONG Code, const volatile VOID *Rbx, const volatile VOID *Rdx)
{
    __asm__ volatile("int $0x29" : : "c"(Code), "b"(Rbx), "d"(Rdx) : "memory");
}
SIN BinaryRemoveTwice(void *Unused)
{
    (void)Unused;
    MakeList();
    RemoveEntryList(&Items[1]->Link);
    FailFast29(3, Items[1], &Items[1]->Link);
    Kept = 9;
}
SIN BinaryTree(void *Unused)
{
    (void)Unused;
    MakeBuffer(48);
    GiveBack(Block);
    FailFast29(FAST_FAIL_INVALID_BALANCED_TREE, Block + 16, NULL);
    Kept = 9;
}

/* Sin's report has the pieces in this order, and none of what follows an empty piece. */
static void Tells(void (*Sin)(void *), uint32_t Code, const char *const *Pieces)
{
    ntmm_bugcheck Stop;
    const char *At = Text;
    assert_true(ntmm_catch(Sin, NULL, &Stop));
    assert_int_equal(Stop.code, Code);
    ntmm_report(&Stop, false, Text, sizeof Text);
    for (; *Pieces && **Pieces; Pieces++) {
        const char *Found = strstr(At, *Pieces);
        if (Found == NULL)
            fail_msg("'%s' is not there, or not in its place, in:\n%s", *Pieces, Text);
        At = Found + strlen(*Pieces);
    }
    for (Pieces += *Pieces != NULL; *Pieces; Pieces++)
        if (strstr(Text, *Pieces))
            fail_msg("'%s' should not be in:\n%s", *Pieces, Text);
}
#define STORY(Sin, Code, ...) Tells(Sin, Code, (const char *const[]){__VA_ARGS__, NULL})

static void DoubleFree_BothFreesAndTheAllocation(void **State)
{
    (void)State;
    STORY(DoubleFree, 0xC1, "freed that is free already: double free.\n", "  function:   GiveBack (story_test.c:", "  stack:\n",
          "!GiveBack (story_test.c:", "!DoubleFree (story_test.c:", "100 bytes, tag 'Stry', nonpaged pool, freed\n",
          "  allocated by:\n", "!MakeBuffer (story_test.c:", "!DoubleFree (story_test.c:", "  freed by:\n",
          "!GiveBack (story_test.c:", "!DoubleFree (story_test.c:", "  usually: ", "  cure: ");
}
static void UseAfterFree_TheFreeAndTheInstruction(void **State)
{
    (void)State;
    STORY(UseAfterFree, 0xD5, "A write to address 0x", "in a block of special pool that was freed", "  function:   Scribble (",
          "  instruction: ", "writes 1 byte", "!UseAfterFree (", "64 bytes, tag 'Stry', nonpaged pool, freed\n",
          "is 8 bytes after its start\n", "  allocated by:\n", "!MakeBuffer (", "  freed by:\n", "!GiveBack (",
          "  usually: ", "kept a pointer", "  cure: ");
}
static void Overrun_TheBlockAndHowFarBehind(void **State)
{
    (void)State;
    STORY(Overrun, 0xD6, "A write to address 0x", "beyond the end of a block of special pool: overrun",
          "  function:   Scribble (", "  instruction: ", "64 bytes, tag 'Stry', nonpaged pool, allocated\n",
          "is 0 bytes behind its end\n", "  allocated by:\n", "!MakeBuffer (", "61 62 63 64 ", "b  b  b  b",
          "  ?? from here on: no memory is there\n", "  usually: ", "", "freed by", "!!");
}
static void SmallOverrun_MarksWhatWasWritten(void **State)
{
    (void)State;
    STORY(SmallOverrun, 0xC1, "Bytes right behind a block of special pool were overwritten", "13 bytes, tag 'Stry'",
          " 61 62 63 ", " b  b  b  b  b  b  b  b  b  b  b  b  b  !! s  s\n", "  ?? from here on: no memory is there\n",
          "  usually: ", "off by one");
}
static void Underrun_MarksWhatWasWritten(void **State)
{
    (void)State;
    STORY(Underrun, 0xC1, "Bytes in front of a block of special pool were overwritten", "64 bytes, tag 'Stry'", " 61 62 63 ",
          " .  .  .  .  .  .  .  .  .  .  .  .  !! !! !! .\n", " b  b  b  b", "  usually: ", "negative index");
}
static void UnlockTwice_TheMdlAndWhoMadeIt(void **State)
{
    (void)State;
    STORY(UnlockTwice, 0xC4, "MmUnlockPages was called for an MDL whose pages were never locked, or are unlocked already",
          "  function:   UnlockTwice (", "tag 'Mdl ', nonpaged pool, allocated\n", "  allocated by:\n", "!UnlockTwice (",
          "  usually: ", "or it was unlocked before", "  cure: ", "", "bytes of the block");
}
/* Nothing was overwritten, so nothing is said to be. */
static void FreeResource_NoDamageIsShown(void **State)
{
    (void)State;
    STORY(FreeResource, 0xC4, "holds an ERESOURCE in use was freed", "  function:   GiveBack (", "!FreeResource (",
          "tag 'Stry'", "  usually: ", "ERESOURCE", "  cure: ", "ExDeleteResourceLite", "", "!!");
}

static void OverrunIntoFree_NamesTheBlockBefore(void **State)
{
    ntmm_bugcheck Stop;
    char Before[64];
    (void)State;
    STORY(OverrunIntoFree, 0xC6, "or the block before it was overrun", "  pool block: 0x", "64 bytes, tag ", "freed\n",
          "  freed by:\n", "!GiveBack (", "  or an overrun of the block before it, which has no slack:\n", "  pool block: 0x",
          "64 bytes, tag ", "allocated\n", "  allocated by:\n", "!OverrunIntoFree (", " 78 79 ", " 7a df df ", " !! f  f ",
          "  usually: ");
    assert_true(ntmm_catch(OverrunIntoFree, NULL, &Stop));
    assert_ptr_equal((const UCHAR *)Stop.suspect + 64, Stop.block);
    ntmm_report(&Stop, true, Text, sizeof Text);
    snprintf(Before, sizeof Before, "\"suspect\":{\"address\":\"0x%016llX\"", (unsigned long long)(ULONG_PTR)Stop.suspect);
    assert_non_null(strstr(Text, Before));
}
/* Both blocks and who made them; the entry's bytes, whose links nobody leads back to. */
static void RemoveTwice_TheEntryAndItsNeighbours(void **State)
{
    (void)State;
    STORY(RemoveTwice, 0x139, "no neighbour of the entry at 0x", "leads back to it", "  function:   RemoveTwice (",
          "  list entry: 0x", ", Flink 0x", " (not led back), Blink 0x", " (not led back)\n", "64 bytes, tag 'Stry'",
          "allocated\n", "is 8 bytes after its start\n", "  allocated by:\n", "!MakeItem (", "!MakeList (", "!RemoveTwice (",
          "  Flink:      0x", "64 bytes, tag 'Stry'", "  allocated by:\n", "!MakeItem (", "  Blink:      0x",
          " 88 77 66 55 44 33 22 11 ", " b  b  b  b  b  b  b  b  x  x  x  x  x  x  x  x\n", " x  x  x  x  x  x  x  x  b ",
          "  usually: ", "removed twice", "", "freed by");
}
/* The entry that was asked for is right: its neighbour's block is gone, and that is named, with who freed it. */
static void FreeLinked_WhoFreedTheNeighbour(void **State)
{
    (void)State;
    STORY(FreeLinked, 0x139, "lies in a pool block that was freed while it was in the list", "  function:   FreeLinked (",
          "  list entry: 0x", "Blink 0x", " (not led back)\n", "allocated\n", "  Blink:      0x", "64 bytes, tag 'Stry'",
          "freed\n", "  allocated by:\n", "!MakeItem (", "  freed by:\n", "!GiveBack (", "!FreeLinked (", " f  f  f  f",
          "  usually: ", "freed while in one");
}
static void InsertAtBadHead_TheLastEntry(void **State)
{
    (void)State;
    STORY(InsertAtBadHead, 0x139, "the Blink of the entry at 0x", "leads to one that does not lead back",
          "  function:   InsertAtBadHead (", "  list entry: 0x", ", not in pool\n",
          "  Flink: ", "  Blink: ", " (not led back), Blink 0x", "allocated\n", "!MakeItem (", " x  x  x  x  x  x  x  x\n",
          "  usually: ");
}
static void LockedListBroken_TheSame(void **State)
{
    (void)State;
    STORY(LockedListBroken, 0x139, "the Flink of the entry at 0x", "  function:   LockedListBroken (", "  list entry: 0x",
          "  Flink: ", "allocated\n", "!MakeItem (", "  usually: ");
}
static void BinaryRemoveTwice_RegistersTell(void **State)
{
    (void)State;
    STORY(BinaryRemoveTwice, 0x139, "  function:   FailFast29 (", "  rdx:        0x", "64 bytes, tag 'Stry'",
          "is 8 bytes after its start\n", "!MakeItem (", " x  x  x  x", "  usually: ");
}
static void BinaryTree_TheFreedNode(void **State)
{
    (void)State;
    STORY(BinaryTree, 0x139, "  function:   FailFast29 (", ":        0x", "48 bytes, tag 'Stry'", "freed\n",
          "is 16 bytes after its start\n", "  allocated by:\n", "!MakeBuffer (", "  freed by:\n", "!GiveBack (",
          "  usually: ", "", "Flink");
}
static void CorruptList_AsData(void **State)
{
    ntmm_bugcheck Stop;
    (void)State;
    assert_true(ntmm_catch(FreeLinked, NULL, &Stop));
    assert_int_equal(Stop.link_count, 3);
    assert_string_equal(Stop.links[0].name, "entry");
    assert_int_equal(Stop.links[0].address, (ULONG_PTR)&Items[1]->Link);
    assert_true(Stop.links[0].list && Stop.links[0].forward && !Stop.links[0].back);
    assert_int_equal(Stop.links[0].blink, (ULONG_PTR)&Items[0]->Link);
    assert_ptr_equal(Stop.block, &Items[0]->Link);
    ntmm_report(&Stop, true, Text, sizeof Text);
    assert_non_null(strstr(Text, "\"links\":[{\"name\":\"entry\""));
    assert_non_null(strstr(Text, "\"blink_leads_back\":false"));
    assert_non_null(strstr(Text, "\"state\":\"freed\""));
}

static int StartPlain(void **State)
{
    ntmm_options Options;
    (void)State;
    ntmm_default_options(&Options);
    Options.ram = 64u << 20;
    Options.special_pool_sample = 0; /* freed memory can be looked at */
    return ntmm_start(&Options);
}
static int Start(void **State)
{
    ntmm_options Options;
    (void)State;
    ntmm_default_options(&Options);
    Options.ram = 64u << 20;
    Options.verifier = 0x209BB;
    return ntmm_start(&Options);
}
static int Stop(void **State)
{
    (void)State;
    ntmm_stop(); /* with what the sins leave behind */
    return 0;
}
#define PLAIN(Name) cmocka_unit_test_setup_teardown(Name, StartPlain, Stop)
#define TEST(Name)  cmocka_unit_test_setup_teardown(Name, Start, Stop)

int main(void)
{
    const struct CMUnitTest Tests[] = {
        TEST(DoubleFree_BothFreesAndTheAllocation),
        TEST(UseAfterFree_TheFreeAndTheInstruction),
        TEST(Overrun_TheBlockAndHowFarBehind),
        TEST(SmallOverrun_MarksWhatWasWritten),
        TEST(Underrun_MarksWhatWasWritten),
        TEST(UnlockTwice_TheMdlAndWhoMadeIt),
        TEST(FreeResource_NoDamageIsShown),
        PLAIN(OverrunIntoFree_NamesTheBlockBefore),
        PLAIN(RemoveTwice_TheEntryAndItsNeighbours),
        PLAIN(FreeLinked_WhoFreedTheNeighbour),
        PLAIN(InsertAtBadHead_TheLastEntry),
        PLAIN(LockedListBroken_TheSame),
        PLAIN(BinaryRemoveTwice_RegistersTell),
        PLAIN(BinaryTree_TheFreedNode),
        PLAIN(CorruptList_AsData),
    };
    return cmocka_run_group_tests(Tests, NULL, NULL);
}
