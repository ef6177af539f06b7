/*
 * check.c - fill patterns: what is written behind and into blocks, and what is said when it has changed.
 * SPDX-License-Identifier: MIT
 *
 * Slack. The bytes between the end of the requested size and the end of the block belong to nobody. The first
 * 8 of them and the last 8 (fewer if there are fewer) are filled with EXP_FILL_SLACK on allocation and checked on free: an
 * overrun of a few bytes, or an underrun of the next block, is 0x19/0x21 (address, bytes asked for, the first bytes found).
 *
 * Freed blocks. The first 32 bytes of a freed block are filled with EXP_FILL_FREED and checked when the block
 * is handed out again: a write after free is 0xC6 (address, 1: write, 0: kernel, the bytes found).
 *
 * A block that fills its room has no slack: an overrun of it goes into the next one. If that one is free, its first byte has changed, and the
 * report names the block before it as the other suspect. And at any time one of the small classes is the roomy one (slab.c): sizes
 * that would fill a block of it get the next class, so that each is seen in its turn.
 *
 * Big blocks likewise, when they stay mapped after the free (run.c); else a touch after the free faults by itself.
 *
 * Both are small on purpose: they touch the cache lines that the driver has just used. The fills and
 * comparisons are inline in exp.h; here is what happens when one differs.
 */
#include "ex/exp.h"

/* Stops for Bytes at At that are not the pattern. They are mended first, so that it is said once and a block can be freed after a
 * stop that was caught; the report gets them as they were. */
static DECLSPEC_NORETURN VOID ExpStopDamaged(KI_BUGCHECK *Stop, PVOID At, ULONG Bytes, UCHAR Pattern)
{
    Stop->EvidenceAt = (ULONG_PTR)At;
    Stop->EvidenceBytes = Bytes < sizeof(Stop->Evidence) ? Bytes : (ULONG)sizeof(Stop->Evidence);
    memcpy(Stop->Evidence, At, Stop->EvidenceBytes);
    memset(At, Pattern, Bytes);
    KiBugCheck(Stop);
}

VOID ExpStopSlack(PVOID Block, SIZE_T Size, SIZE_T Slack)
{
    PUCHAR Behind = (PUCHAR)Block + Size;
    ULONG Some = Slack < 8 ? (ULONG)Slack : 8;
    ULONG64 Found = 0;
    ULONG Index;
    for (Index = 0; Index < Some; Index++)
        Found |= (ULONG64)Behind[Index] << (Index * 8);
    KI_BUGCHECK Stop = {.Code = 0x19,
                        .Parameters = {0x21, (ULONG_PTR)Block, Size, Found},
                        .Words = "Bytes behind a pool block were overwritten; found when the block is freed.",
                        .Block = Block};
    /* The bytes at the end are mended here: with the first ones all of a short slack is evidence. */
    if (Slack <= 64)
        Some = (ULONG)Slack;
    else
        memset(Behind + Slack - 8, EXP_FILL_SLACK, 8);
    ExpStopDamaged(&Stop, Behind, Some, EXP_FILL_SLACK);
}

VOID ExpStopFreedFill(PVOID Block, SIZE_T BlockSize)
{
    const ULONG64 *At = Block;
    EXP_BLOCK_INFO Before;
    PVOID Suspect = NULL;
    ULONG64 Found;
    ULONG_PTR Where;
    while (*At == EXP_FREED_PATTERN)
        At++;
    Found = *At;
    Where = (ULONG_PTR)At + (ULONG)__builtin_ctzll(Found ^ EXP_FREED_PATTERN) / 8;
    if (Where == (ULONG_PTR)Block && (Where & (PAGE_SIZE - 1)) != 0 && ExpDescribeBlock((PUCHAR)Block - 1, &Before) &&
        (Before.State == ExpBlockLive || Before.State == ExpBlockFreed) && Before.Start + Before.Size == Where)
        Suspect = (PVOID)Before.Start;
    KI_BUGCHECK Stop = {.Code = 0xC6,
                        .Parameters = {Where, 1, 0, Found},
                        .Words = Suspect != NULL
                                     ? "A pool block was written to after it had been freed, or the block before it was "
                                       "overrun; found when it was to be handed out again."
                                     : "A pool block was written to after it had been freed; found when it was to be "
                                       "handed out again.",
                        .Block = Block,
                        .Suspect = Suspect};
    ExpStopDamaged(&Stop, Block, BlockSize >= 32 ? 32 : 16, EXP_FILL_FREED);
}
