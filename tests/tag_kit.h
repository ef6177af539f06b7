/*
 * tag_kit.h - what a tag has of the pools, for tests that count. SPDX-License-Identifier: MIT
 */
#pragma once
#include "ex/ex.h"

typedef struct {
    ULONG Tag;
    LONG64 Blocks, Bytes; /* live */
} KIT_TAG_USE;

static inline void KitAddUse(const EXP_TAG_USE *Use, PVOID Context)
{
    KIT_TAG_USE *Sum = Context;
    if (Use->Tag == Sum->Tag) {
        Sum->Blocks += (LONG64)(Use->Allocs - Use->Frees);
        Sum->Bytes += Use->Bytes;
    }
}

/* Over all pools. */
static inline KIT_TAG_USE KitTagUse(ULONG Tag)
{
    KIT_TAG_USE Sum = {Tag, 0, 0};
    ExpQueryTags(KitAddUse, &Sum);
    return Sum;
}
