/*
 * fast.c - the pools' entries: the fast path of each (fast.h), and the general one behind it. SPDX-License-Identifier: MIT
 *
 * Implements ExAllocatePool2, ExAllocatePoolWithTag, ExFreePoolWithTag, ExFreePool and their like for malloc. Beside what
 * fast.h tests, an allocation looks up what its flags come to in a table, which also says the highest IRQL: -1 where the
 * general path must decide.
 */
#define EXP_FAST_PATHS
#include "ex/fast.h"

#undef ExFreePool

EXP_FAST ExpFast;

#define EXP_ENTRY_PATH static inline __attribute__((always_inline))
#define EXP_OTHER_PATH static __attribute__((noinline))

EXP_ENTRY_PATH ULONG_PTR ExpTryPool(const KTHREAD *Thread, ULONG Decoded, SIZE_T Size, ULONG Tag, BOOLEAN Checks)
{
    EXP_CACHE *Cache = Thread->ExCache;
    ULONG Key = Tag | (Decoded & EXP_FAST_PAGED), Index = ExpTagCacheIndex(Key);
    if (__builtin_expect((CHAR)Thread->Irql > (CHAR)Decoded, 0) || __builtin_expect(Cache->Tags[Index].Key != Key, 0))
        return 0;
    return ExpTryAllocate(Cache, EXP_FAST_KIND(Decoded), Size, Cache->Tags[Index].Counter, Checks);
}

/* After ExpTryPool has said no; most likely the magazine is empty. */
EXP_OTHER_PATH ULONG_PTR ExpTryPoolAgain(const KTHREAD *Thread, ULONG Decoded, SIZE_T Size, ULONG Tag)
{
    if ((CHAR)Thread->Irql > (CHAR)Decoded || !ExpReadyToAllocate(Thread->ExCache, EXP_FAST_KIND(Decoded), Size))
        return 0;
    return ExpTryPool(Thread, Decoded, Size, Tag, ExpChecks());
}

/* Caller: of the pools' own routine, which comes here in a tail call. */
EXP_ENTRY_PATH PVOID ExpAllocate2(POOL_FLAGS Flags, SIZE_T Size, ULONG Tag, ULONG_PTR Caller, BOOLEAN Checks)
{
    const KTHREAD *Thread = HalCurrentThread();
    ULONG_PTR Block;
    ULONG Decoded;
    if (__builtin_expect(Thread == NULL, 0) || __builtin_expect(Thread->ExCache == NULL, 0) ||
        __builtin_expect(Flags >= ARRAYSIZE(ExpFast.Flags), 0) || __builtin_expect(Size - 1 >= ExpFast.MaxSmall, 0) ||
        __builtin_expect((LONG)Tag <= 0, 0))
        return ExpAllocateFlags(Flags, Size, Tag, HighPoolPriority, Caller);
    Decoded = __atomic_load_n(&ExpFast.Flags[Flags], __ATOMIC_RELAXED);
    Block = ExpTryPool(Thread, Decoded, Size, Tag, Checks);
    if (__builtin_expect(Block == 0, 0) && (Block = ExpTryPoolAgain(Thread, Decoded, Size, Tag)) == 0)
        return ExpAllocateFlags(Flags, Size, Tag, HighPoolPriority, Caller);
    if (Decoded & EXP_FAST_ZERO)
        return memset((PVOID)Block, 0, Size);
    return (PVOID)Block;
}

EXP_OTHER_PATH PVOID ExpAllocate2Bare(POOL_FLAGS Flags, SIZE_T Size, ULONG Tag, ULONG_PTR Caller)
{
    return ExpAllocate2(Flags, Size, Tag, Caller, FALSE);
}

PVOID ExAllocatePool2(POOL_FLAGS Flags, SIZE_T NumberOfBytes, ULONG Tag)
{
    ULONG_PTR Caller = (ULONG_PTR)__builtin_return_address(0);
    return ExpChecks() ? ExpAllocate2(Flags, NumberOfBytes, Tag, Caller, TRUE)
                       : ExpAllocate2Bare(Flags, NumberOfBytes, Tag, Caller);
}

EXP_ENTRY_PATH PVOID ExpAllocateOld(POOL_TYPE PoolType, SIZE_T Size, ULONG Tag, ULONG_PTR Caller, BOOLEAN Checks)
{
    const KTHREAD *Thread = HalCurrentThread();
    ULONG_PTR Block = 0;
    ULONG Decoded;
    if (__builtin_expect(Thread != NULL, 1) && __builtin_expect(Thread->ExCache != NULL, 1) &&
        __builtin_expect((ULONG)PoolType < ARRAYSIZE(ExpFast.Types), 1) && __builtin_expect(Size - 1 < ExpFast.MaxSmall, 1) &&
        __builtin_expect((LONG)Tag > 0, 1)) {
        Decoded = __atomic_load_n(&ExpFast.Types[PoolType], __ATOMIC_RELAXED);
        Block = ExpTryPool(Thread, Decoded, Size, Tag, Checks);
        if (__builtin_expect(Block == 0, 0))
            Block = ExpTryPoolAgain(Thread, Decoded, Size, Tag);
    }
    if (__builtin_expect(Block == 0, 0))
        return ExpAllocateLegacy((ULONG)PoolType, Size, Tag, EXP_WITH_TAG, HighPoolPriority, Caller);
    return (PVOID)Block;
}

EXP_OTHER_PATH PVOID ExpAllocateOldBare(POOL_TYPE PoolType, SIZE_T Size, ULONG Tag, ULONG_PTR Caller)
{
    return ExpAllocateOld(PoolType, Size, Tag, Caller, FALSE);
}

PVOID ExAllocatePoolWithTag(POOL_TYPE PoolType, SIZE_T NumberOfBytes, ULONG Tag)
{
    ULONG_PTR Caller = (ULONG_PTR)__builtin_return_address(0);
    return ExpChecks() ? ExpAllocateOld(PoolType, NumberOfBytes, Tag, Caller, TRUE)
                       : ExpAllocateOldBare(PoolType, NumberOfBytes, Tag, Caller);
}

/* After ExpTryFree has said no. */
EXP_OTHER_PATH VOID ExpFreeAgain(ULONG_PTR P, ULONG Tag, ULONG_PTR Caller)
{
    const KTHREAD *Thread = HalCurrentThread();
    CHAR Irql = (CHAR)Thread->Irql;
    if (Tag != 0 ? ExpTryFreeAgain(Thread->ExCache, P, Tag, Irql, ExpFreeTagged)
                 : ExpTryFreeAgain(Thread->ExCache, P, 0, Irql, ExpFreeUntagged))
        return;
    ExpFreeGeneral((PVOID)P, Tag, Tag != 0 ? EXP_WITH_TAG : 0, Caller);
}

EXP_ENTRY_PATH VOID ExpFreeTaggedAs(PVOID P, ULONG Tag, ULONG_PTR Caller, BOOLEAN Checks)
{
    const KTHREAD *Thread = HalCurrentThread();
    if (__builtin_expect((LONG)Tag <= 0, 0) || __builtin_expect(Thread == NULL, 0) ||
        __builtin_expect(Thread->ExCache == NULL, 0))
        ExpFreeGeneral(P, Tag, Tag != 0 ? EXP_WITH_TAG : 0, Caller);
    else if (__builtin_expect(!ExpTryFree(Thread->ExCache, (ULONG_PTR)P, Tag, (CHAR)Thread->Irql, ExpFreeTagged, Checks), 0))
        ExpFreeAgain((ULONG_PTR)P, Tag, Caller);
}

EXP_OTHER_PATH VOID ExpFreeTaggedBare(PVOID P, ULONG Tag, ULONG_PTR Caller)
{
    ExpFreeTaggedAs(P, Tag, Caller, FALSE);
}

VOID ExFreePoolWithTag(PVOID P, ULONG Tag)
{
    ULONG_PTR Caller = (ULONG_PTR)__builtin_return_address(0);
    if (ExpChecks())
        ExpFreeTaggedAs(P, Tag, Caller, TRUE);
    else
        ExpFreeTaggedBare(P, Tag, Caller);
}

EXP_ENTRY_PATH VOID ExpFreeUntaggedAs(PVOID P, ULONG_PTR Caller, BOOLEAN Checks)
{
    const KTHREAD *Thread = HalCurrentThread();
    if (__builtin_expect(Thread == NULL, 0) || __builtin_expect(Thread->ExCache == NULL, 0))
        ExpFreeGeneral(P, 0, 0, Caller);
    else if (__builtin_expect(!ExpTryFree(Thread->ExCache, (ULONG_PTR)P, 0, (CHAR)Thread->Irql, ExpFreeUntagged, Checks), 0))
        ExpFreeAgain((ULONG_PTR)P, 0, Caller);
}

EXP_OTHER_PATH VOID ExpFreeUntaggedBare(PVOID P, ULONG_PTR Caller)
{
    ExpFreeUntaggedAs(P, Caller, FALSE);
}

VOID ExFreePool(PVOID P)
{
    ULONG_PTR Caller = (ULONG_PTR)__builtin_return_address(0);
    if (ExpChecks())
        ExpFreeUntaggedAs(P, Caller, TRUE);
    else
        ExpFreeUntaggedBare(P, Caller);
}

/* ---- malloc's, for whoever does not inline them ---- */
static EXP_CACHE *ExpOwnCache(VOID)
{
    const KTHREAD *Thread = HalCurrentThread();
    return Thread != NULL ? Thread->ExCache : NULL;
}

PVOID ExpMallocLike(SIZE_T Size, SIZE_T Alignment)
{
    PVOID Block = NULL;
    if (Alignment <= 16)
        Block = ExpChecks() ? ExpTryMallocLike(ExpOwnCache(), Size, TRUE) : ExpTryMallocLike(ExpOwnCache(), Size, FALSE);
    return Block != NULL ? Block : ExpMallocGeneral(Size, Alignment);
}

VOID ExpFreeLike(PVOID Block)
{
    if (!(ExpChecks() ? ExpTryFreeLike(ExpOwnCache(), Block, TRUE) : ExpTryFreeLike(ExpOwnCache(), Block, FALSE)))
        ExpFreeGeneral(Block, 0, EXP_HOST, 0);
}
