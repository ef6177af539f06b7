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
          "is 0 bytes behind its end\n", "  allocated by:\n", "!MakeBuffer (", "61 62 63 64 ", "b  b  b  b", "?  ?  ?  ?",
          "  usually: ", "", "freed by", "!!");
}
static void SmallOverrun_MarksWhatWasWritten(void **State)
{
    (void)State;
    STORY(SmallOverrun, 0xC1, "Bytes right behind a block of special pool were overwritten", "13 bytes, tag 'Stry'",
          " 61 62 63 ", " b  b  b  b  b  b  b  b  b  b  b  b  b  !! s  s\n", "?  ?  ?  ?", "  usually: ", "off by one");
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
#define TEST(Name) cmocka_unit_test_setup_teardown(Name, Start, Stop)

int main(void)
{
    const struct CMUnitTest Tests[] = {
        TEST(DoubleFree_BothFreesAndTheAllocation), TEST(UseAfterFree_TheFreeAndTheInstruction),
        TEST(Overrun_TheBlockAndHowFarBehind),      TEST(SmallOverrun_MarksWhatWasWritten),
        TEST(Underrun_MarksWhatWasWritten),         TEST(UnlockTwice_TheMdlAndWhoMadeIt),
        TEST(FreeResource_NoDamageIsShown),
    };
    return cmocka_run_group_tests(Tests, NULL, NULL);
}
