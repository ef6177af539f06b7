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

/* Beside the tests of the entries; ExpChecks is asked last, so that both ways have those in common. */
EXP_ENTRY_PATH ULONG_PTR ExpTryPool(const KTHREAD *Thread, ULONG Decoded, SIZE_T Size, ULONG Tag)
{
    EXP_CACHE *Cache = Thread->ExCache;
    ULONG Key = Tag | (Decoded & EXP_FAST_PAGED), Index = ExpTagCacheIndex(Key), Kind = EXP_FAST_KIND(Decoded);
    if (__builtin_expect((CHAR)Thread->Irql > (CHAR)Decoded, 0) || __builtin_expect(Cache->Tags[Index].Key != Key, 0))
        return 0;
    return ExpChecks() ? ExpTryAllocate(Cache, Kind, Size, Cache->Tags[Index].Counter, TRUE)
                       : ExpTryAllocate(Cache, Kind, Size, Cache->Tags[Index].Counter, FALSE);
}

/* After ExpTryPool has said no; most likely the magazine is empty, or the tag is one of many and not at hand. */
EXP_OTHER_PATH ULONG_PTR ExpTryPoolAgain(const KTHREAD *Thread, ULONG Decoded, SIZE_T Size, ULONG Tag)
{
    EXP_CACHE *Cache = Thread->ExCache;
    ULONG Key = Tag | (Decoded & EXP_FAST_PAGED);
    if ((CHAR)Thread->Irql > (CHAR)Decoded)
        return 0;
    if (Cache->Tags[ExpTagCacheIndex(Key)].Key != Key) {
        if (ExpFindCounterSlow(Cache, Tag, (Decoded & EXP_FAST_PAGED) != 0) == NULL)
            return 0;
    } else if (!ExpReadyToAllocate(Cache, EXP_FAST_KIND(Decoded), Size)) {
        return 0;
    }
    return ExpTryPool(Thread, Decoded, Size, Tag);
}

/* Asked: flags or a type; Table: what each of these comes to. Again: a constant, whether it has said no before. 0: the general path. */
EXP_ENTRY_PATH ULONG_PTR ExpTryAsked(const ULONG *Table, SIZE_T Entries, ULONG64 Asked, SIZE_T Size, ULONG Tag, BOOLEAN Again)
{
    const KTHREAD *Thread = HalCurrentThread();
    ULONG Decoded;
    if (__builtin_expect(Thread == NULL, 0) || __builtin_expect(Thread->ExCache == NULL, 0) ||
        __builtin_expect(Asked >= Entries, 0) || __builtin_expect(Size - 1 >= ExpFast.MaxSmall, 0) ||
        __builtin_expect((LONG)Tag <= 0, 0))
        return 0;
    Decoded = __atomic_load_n(&Table[Asked], __ATOMIC_RELAXED);
    return Again ? ExpTryPoolAgain(Thread, Decoded, Size, Tag) : ExpTryPool(Thread, Decoded, Size, Tag);
}

EXP_ENTRY_PATH ULONG_PTR ExpTry2(POOL_FLAGS Flags, SIZE_T Size, ULONG Tag, BOOLEAN Again)
{
    return ExpTryAsked(ExpFast.Flags, ARRAYSIZE(ExpFast.Flags), Flags, Size, Tag, Again);
}

EXP_ENTRY_PATH PVOID ExpClear2(POOL_FLAGS Flags, SIZE_T Size, ULONG_PTR Block)
{
    return Flags & POOL_FLAG_UNINITIALIZED ? (PVOID)Block : memset((PVOID)Block, 0, Size);
}

/* Caller: of the pools' own routine, which comes here in a tail call. */
EXP_OTHER_PATH PVOID ExpAllocate2Again(POOL_FLAGS Flags, SIZE_T Size, ULONG Tag, ULONG_PTR Caller)
{
    ULONG_PTR Block = ExpTry2(Flags, Size, Tag, TRUE);
    return Block != 0 ? ExpClear2(Flags, Size, Block) : ExpAllocateFlags(Flags, Size, Tag, HighPoolPriority, Caller);
}

PVOID ExAllocatePool2(POOL_FLAGS Flags, SIZE_T NumberOfBytes, ULONG Tag)
{
    ULONG_PTR Block = ExpTry2(Flags, NumberOfBytes, Tag, FALSE);
    if (__builtin_expect(Block == 0, 0))
        return ExpAllocate2Again(Flags, NumberOfBytes, Tag, (ULONG_PTR)__builtin_return_address(0));
    return ExpClear2(Flags, NumberOfBytes, Block);
}

EXP_ENTRY_PATH ULONG_PTR ExpTryOld(POOL_TYPE PoolType, SIZE_T Size, ULONG Tag, BOOLEAN Again)
{
    return ExpTryAsked(ExpFast.Types, ARRAYSIZE(ExpFast.Types), (ULONG)PoolType, Size, Tag, Again);
}

EXP_OTHER_PATH PVOID ExpAllocateOldAgain(POOL_TYPE PoolType, SIZE_T Size, ULONG Tag, ULONG_PTR Caller)
{
    ULONG_PTR Block = ExpTryOld(PoolType, Size, Tag, TRUE);
    return Block != 0 ? (PVOID)Block : ExpAllocateLegacy((ULONG)PoolType, Size, Tag, EXP_WITH_TAG, HighPoolPriority, Caller);
}

PVOID ExAllocatePoolWithTag(POOL_TYPE PoolType, SIZE_T NumberOfBytes, ULONG Tag)
{
    ULONG_PTR Block = ExpTryOld(PoolType, NumberOfBytes, Tag, FALSE);
    if (__builtin_expect(Block == 0, 0))
        return ExpAllocateOldAgain(PoolType, NumberOfBytes, Tag, (ULONG_PTR)__builtin_return_address(0));
    return (PVOID)Block;
}

/* After ExpTryFree has said no, or was not asked. */
EXP_OTHER_PATH VOID ExpFreeAgain(PVOID P, ULONG Tag, ULONG_PTR Caller)
{
    const KTHREAD *Thread = HalCurrentThread();
    if (Thread != NULL && Thread->ExCache != NULL && (LONG)Tag >= 0) {
        EXP_CACHE *Cache = Thread->ExCache;
        CHAR Irql = (CHAR)Thread->Irql;
        if (Tag != 0 ? ExpTryFreeAgain(Cache, (ULONG_PTR)P, Tag, Irql, ExpFreeTagged)
                     : ExpTryFreeAgain(Cache, (ULONG_PTR)P, 0, Irql, ExpFreeUntagged))
            return;
    }
    ExpFreeGeneral(P, Tag, Tag != 0 ? EXP_WITH_TAG : 0, Caller);
}

EXP_ENTRY_PATH BOOLEAN ExpTryFreePool(PVOID P, ULONG Tag, EXP_FREE_MODE Mode)
{
    const KTHREAD *Thread = HalCurrentThread();
    if (__builtin_expect(Thread == NULL, 0) || __builtin_expect(Thread->ExCache == NULL, 0))
        return FALSE;
    return ExpChecks() ? ExpTryFree(Thread->ExCache, (ULONG_PTR)P, Tag, (CHAR)Thread->Irql, Mode, TRUE)
                       : ExpTryFree(Thread->ExCache, (ULONG_PTR)P, Tag, (CHAR)Thread->Irql, Mode, FALSE);
}

VOID ExFreePoolWithTag(PVOID P, ULONG Tag)
{
    if (__builtin_expect((LONG)Tag <= 0, 0) || __builtin_expect(!ExpTryFreePool(P, Tag, ExpFreeTagged), 0))
        ExpFreeAgain(P, Tag, (ULONG_PTR)__builtin_return_address(0));
}

VOID ExFreePool(PVOID P)
{
    if (__builtin_expect(!ExpTryFreePool(P, 0, ExpFreeUntagged), 0))
        ExpFreeAgain(P, 0, (ULONG_PTR)__builtin_return_address(0));
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
