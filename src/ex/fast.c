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

static inline __attribute__((always_inline)) ULONG_PTR ExpTryPool(EXP_CACHE *Cache, ULONG Decoded, SIZE_T Size, ULONG Tag)
{
    ULONG Key = Tag | (Decoded & EXP_FAST_PAGED), Index = ExpTagCacheIndex(Key);
    if (__builtin_expect(Cache->Tags[Index].Key != Key, 0))
        return 0;
    return ExpTryAllocate(Cache, EXP_FAST_KIND(Decoded), Size, Cache->Tags[Index].Counter);
}

PVOID ExAllocatePool2(POOL_FLAGS Flags, SIZE_T NumberOfBytes, ULONG Tag)
{
    const KTHREAD *Thread = HalCurrentThread();
    ULONG_PTR Block;
    ULONG Decoded;
    if (__builtin_expect(Thread == NULL, 0) || __builtin_expect(Thread->ExCache == NULL, 0) ||
        __builtin_expect(Flags >= ARRAYSIZE(ExpFast.Flags), 0) || __builtin_expect(NumberOfBytes - 1 >= ExpFast.MaxSmall, 0) ||
        __builtin_expect((LONG)Tag <= 0, 0))
        goto General;
    Decoded = __atomic_load_n(&ExpFast.Flags[Flags], __ATOMIC_RELAXED);
    if (__builtin_expect((CHAR)Thread->Irql > (CHAR)Decoded, 0))
        goto General;
    Block = ExpTryPool(Thread->ExCache, Decoded, NumberOfBytes, Tag);
    if (__builtin_expect(Block == 0, 0))
        goto General;
    if (Decoded & EXP_FAST_ZERO)
        return memset((PVOID)Block, 0, NumberOfBytes);
    return (PVOID)Block;
General:
    return ExpAllocateFlags(Flags, NumberOfBytes, Tag, HighPoolPriority, (ULONG_PTR)__builtin_return_address(0));
}

PVOID ExAllocatePoolWithTag(POOL_TYPE PoolType, SIZE_T NumberOfBytes, ULONG Tag)
{
    const KTHREAD *Thread = HalCurrentThread();
    ULONG_PTR Block;
    ULONG Decoded;
    if (__builtin_expect(Thread == NULL, 0) || __builtin_expect(Thread->ExCache == NULL, 0) ||
        __builtin_expect((ULONG)PoolType >= ARRAYSIZE(ExpFast.Types), 0) ||
        __builtin_expect(NumberOfBytes - 1 >= ExpFast.MaxSmall, 0) || __builtin_expect((LONG)Tag <= 0, 0))
        goto General;
    Decoded = __atomic_load_n(&ExpFast.Types[PoolType], __ATOMIC_RELAXED);
    if (__builtin_expect((CHAR)Thread->Irql > (CHAR)Decoded, 0))
        goto General;
    Block = ExpTryPool(Thread->ExCache, Decoded, NumberOfBytes, Tag);
    if (__builtin_expect(Block == 0, 0))
        goto General;
    return (PVOID)Block;
General:
    return ExpAllocateLegacy((ULONG)PoolType, NumberOfBytes, Tag, EXP_WITH_TAG, HighPoolPriority,
                             (ULONG_PTR)__builtin_return_address(0));
}

static inline __attribute__((always_inline)) BOOLEAN ExpTryPoolFree(PVOID P, ULONG Tag, EXP_FREE_MODE Mode)
{
    const KTHREAD *Thread = HalCurrentThread();
    return __builtin_expect(Thread != NULL, 1) && __builtin_expect(Thread->ExCache != NULL, 1) &&
           ExpTryFree(Thread->ExCache, (ULONG_PTR)P, Tag, (CHAR)Thread->Irql, Mode);
}

VOID ExFreePoolWithTag(PVOID P, ULONG Tag)
{
    if (__builtin_expect((LONG)Tag <= 0, 0) || __builtin_expect(!ExpTryPoolFree(P, Tag, ExpFreeTagged), 0))
        ExpFreeGeneral(P, Tag, Tag != 0 ? EXP_WITH_TAG : 0, (ULONG_PTR)__builtin_return_address(0));
}

VOID ExFreePool(PVOID P)
{
    if (__builtin_expect(!ExpTryPoolFree(P, 0, ExpFreeUntagged), 0))
        ExpFreeGeneral(P, 0, 0, (ULONG_PTR)__builtin_return_address(0));
}

static inline EXP_CACHE *ExpOwnCache(VOID)
{
    const KTHREAD *Thread = HalCurrentThread();
    return Thread != NULL ? Thread->ExCache : NULL;
}

PVOID ExpMallocLike(SIZE_T Size, SIZE_T Alignment)
{
    PVOID Block = Alignment <= 16 ? ExpTryMallocLike(ExpOwnCache(), Size) : NULL;
    return Block != NULL ? Block : ExpMallocGeneral(Size, Alignment);
}

VOID ExpFreeLike(PVOID Block)
{
    if (!ExpTryFreeLike(ExpOwnCache(), Block))
        ExpFreeGeneral(Block, 0, EXP_HOST, 0);
}
