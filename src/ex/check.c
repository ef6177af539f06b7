/*
 * check.c - fill patterns: what is written behind and into blocks, and what is said when it has changed.
 * SPDX-License-Identifier: MIT
 *
 * Slack. The bytes between the end of the requested size and the end of the block belong to nobody. The first 16 of them
 * (fewer if there are fewer) are filled with EXP_FILL_SLACK on allocation and checked on free: an overrun of a few
 * bytes is 0x19/0x21 (address, bytes asked for, the bytes found).
 *
 * Freed blocks. The first EXP_FREED_BYTES of a freed block are filled with EXP_FILL_FREED and checked when the block is
 * handed out again: a write after free is 0xC6 (address, 1: write, 0: kernel, the bytes found).
 *
 * Big blocks are given back to the memory manager when they are freed: a touch after free faults by itself.
 *
 * Both are small on purpose: they touch the cache lines that the driver has just used.
 */
#include "ex/exp.h"

#define EXP_SLACK_PATTERN (EXP_FILL_SLACK * 0x0101010101010101ull)
#define EXP_FREED_PATTERN (EXP_FILL_FREED * 0x0101010101010101ull)

/* Unaligned 8-byte access. */
typedef struct __attribute__((packed, may_alias)) _EXP_ANY64 {
    ULONG64 Value;
} EXP_ANY64;

VOID ExpFillSlackSlow(PUCHAR Behind, ULONG Slack)
{
    if (Slack >= 16) {
        ((EXP_ANY64 *)Behind)[0].Value = EXP_SLACK_PATTERN;
        ((EXP_ANY64 *)Behind)[1].Value = EXP_SLACK_PATTERN;
    } else if (Slack >= 8) {
        ((EXP_ANY64 *)Behind)->Value = EXP_SLACK_PATTERN;
        ((EXP_ANY64 *)(Behind + Slack - 8))->Value = EXP_SLACK_PATTERN;
    } else {
        while (Slack-- != 0)
            *Behind++ = EXP_FILL_SLACK;
    }
}

VOID ExpCheckSlack(PVOID Block, SIZE_T Size, ULONG Slack)
{
    PUCHAR Behind = (PUCHAR)Block + Size;
    ULONG64 Found = 0;
    ULONG Index, Count = Slack < 16 ? Slack : 16;
    BOOLEAN Good;
    if (Slack >= 16) {
        Good = ((EXP_ANY64 *)Behind)[0].Value == EXP_SLACK_PATTERN && ((EXP_ANY64 *)Behind)[1].Value == EXP_SLACK_PATTERN;
    } else if (Slack >= 8) {
        Good = ((EXP_ANY64 *)Behind)->Value == EXP_SLACK_PATTERN &&
               ((EXP_ANY64 *)(Behind + Slack - 8))->Value == EXP_SLACK_PATTERN;
    } else {
        for (Index = 0, Good = TRUE; Index < Slack; Index++)
            Good = Good && Behind[Index] == EXP_FILL_SLACK;
    }
    if (__builtin_expect(Good, 1))
        return;
    for (Index = 0; Index < Count && Index < 8; Index++)
        Found |= (ULONG64)Behind[Index] << (Index * 8);
    ExpFillSlackSlow(Behind, Slack); /* said once: after a caught stop the block can be freed */
    KiStop(0x19, "Bytes behind a pool block were overwritten; found when the block is freed.", Block, 0x21,
           (ULONG_PTR)Block, Size, Found);
}

VOID ExpFillFreed(PVOID Block, SIZE_T BlockSize)
{
    ULONG64 *At = Block;
    At[0] = At[1] = EXP_FREED_PATTERN;
    if (BlockSize >= 32)
        At[2] = At[3] = EXP_FREED_PATTERN;
}

VOID ExpCheckFreed(PVOID Block, SIZE_T BlockSize)
{
    const ULONG64 *At = Block;
    ULONG64 Changed = (At[0] ^ EXP_FREED_PATTERN) | (At[1] ^ EXP_FREED_PATTERN);
    ULONG Index;
    ULONG64 Found;
    ULONG_PTR Where;
    if (BlockSize >= 32)
        Changed |= (At[2] ^ EXP_FREED_PATTERN) | (At[3] ^ EXP_FREED_PATTERN);
    if (__builtin_expect(Changed == 0, 1))
        return;
    for (Index = 0; At[Index] == EXP_FREED_PATTERN; Index++)
        ;
    Found = At[Index];
    Where = (ULONG_PTR)&At[Index] + (ULONG)__builtin_ctzll(Found ^ EXP_FREED_PATTERN) / 8;
    ExpFillFreed(Block, BlockSize); /* said once */
    KiStop(0xC6, "A pool block was written to after it had been freed; found when it was to be handed out again.", Block,
           Where, 1, 0, Found);
}
