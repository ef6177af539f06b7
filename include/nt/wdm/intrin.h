/*
 * intrin.h - the intrinsics: interlocked operations, bit scans, byte swaps, barriers, port and privileged
 * instructions.
 *
 * Page: "InterlockedCompareExchange" and its family: each returns the value before the operation, except
 * Increment, Decrement (and their 16- and 64-bit forms), which return the value after. All are full barriers,
 * except as the suffix says (Acquire, Release, NoFence); on x64 the suffixed forms are full barriers too. Any
 * IRQL; the target must be resident. Privileged instructions (__readcr8 ...) are not executed: source drivers
 * ask the kernel layer instead (KeGetCurrentIrql). SPDX-License-Identifier: MIT
 */
#ifndef _NTMM_INTRIN_
#define _NTMM_INTRIN_

/* CHAR */
FORCEINLINE CHAR InterlockedExchange8(CHAR volatile *Target, CHAR Value)
{
    return __atomic_exchange_n(Target, Value, __ATOMIC_SEQ_CST);
}
FORCEINLINE CHAR InterlockedExchangeAdd8(CHAR volatile *Target, CHAR Value)
{
    return __atomic_fetch_add(Target, Value, __ATOMIC_SEQ_CST);
}
FORCEINLINE CHAR InterlockedAnd8(CHAR volatile *Target, CHAR Value)
{
    return __atomic_fetch_and(Target, Value, __ATOMIC_SEQ_CST);
}
FORCEINLINE CHAR InterlockedOr8(CHAR volatile *Target, CHAR Value)
{
    return __atomic_fetch_or(Target, Value, __ATOMIC_SEQ_CST);
}
FORCEINLINE CHAR InterlockedXor8(CHAR volatile *Target, CHAR Value)
{
    return __atomic_fetch_xor(Target, Value, __ATOMIC_SEQ_CST);
}

/* SHORT */
FORCEINLINE SHORT InterlockedExchange16(SHORT volatile *Target, SHORT Value)
{
    return __atomic_exchange_n(Target, Value, __ATOMIC_SEQ_CST);
}
FORCEINLINE SHORT InterlockedExchangeAdd16(SHORT volatile *Target, SHORT Value)
{
    return __atomic_fetch_add(Target, Value, __ATOMIC_SEQ_CST);
}
FORCEINLINE SHORT InterlockedAnd16(SHORT volatile *Target, SHORT Value)
{
    return __atomic_fetch_and(Target, Value, __ATOMIC_SEQ_CST);
}
FORCEINLINE SHORT InterlockedOr16(SHORT volatile *Target, SHORT Value)
{
    return __atomic_fetch_or(Target, Value, __ATOMIC_SEQ_CST);
}
FORCEINLINE SHORT InterlockedXor16(SHORT volatile *Target, SHORT Value)
{
    return __atomic_fetch_xor(Target, Value, __ATOMIC_SEQ_CST);
}
FORCEINLINE SHORT InterlockedIncrement16(SHORT volatile *Addend)
{
    return __atomic_add_fetch(Addend, 1, __ATOMIC_SEQ_CST);
}
FORCEINLINE SHORT InterlockedDecrement16(SHORT volatile *Addend)
{
    return __atomic_sub_fetch(Addend, 1, __ATOMIC_SEQ_CST);
}
FORCEINLINE SHORT InterlockedCompareExchange16(SHORT volatile *Destination, SHORT Exchange, SHORT Comparand)
{
    __atomic_compare_exchange_n(Destination, &Comparand, Exchange, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
    return Comparand;
}

/* LONG */
FORCEINLINE LONG InterlockedExchange(LONG volatile *Target, LONG Value)
{
    return __atomic_exchange_n(Target, Value, __ATOMIC_SEQ_CST);
}
FORCEINLINE LONG InterlockedExchangeAdd(LONG volatile *Target, LONG Value)
{
    return __atomic_fetch_add(Target, Value, __ATOMIC_SEQ_CST);
}
FORCEINLINE LONG InterlockedAnd(LONG volatile *Target, LONG Value)
{
    return __atomic_fetch_and(Target, Value, __ATOMIC_SEQ_CST);
}
FORCEINLINE LONG InterlockedOr(LONG volatile *Target, LONG Value)
{
    return __atomic_fetch_or(Target, Value, __ATOMIC_SEQ_CST);
}
FORCEINLINE LONG InterlockedXor(LONG volatile *Target, LONG Value)
{
    return __atomic_fetch_xor(Target, Value, __ATOMIC_SEQ_CST);
}
FORCEINLINE LONG InterlockedIncrement(LONG volatile *Addend)
{
    return __atomic_add_fetch(Addend, 1, __ATOMIC_SEQ_CST);
}
FORCEINLINE LONG InterlockedDecrement(LONG volatile *Addend)
{
    return __atomic_sub_fetch(Addend, 1, __ATOMIC_SEQ_CST);
}
FORCEINLINE LONG InterlockedCompareExchange(LONG volatile *Destination, LONG Exchange, LONG Comparand)
{
    __atomic_compare_exchange_n(Destination, &Comparand, Exchange, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
    return Comparand;
}

/* LONG64 */
FORCEINLINE LONG64 InterlockedExchange64(LONG64 volatile *Target, LONG64 Value)
{
    return __atomic_exchange_n(Target, Value, __ATOMIC_SEQ_CST);
}
FORCEINLINE LONG64 InterlockedExchangeAdd64(LONG64 volatile *Target, LONG64 Value)
{
    return __atomic_fetch_add(Target, Value, __ATOMIC_SEQ_CST);
}
FORCEINLINE LONG64 InterlockedAnd64(LONG64 volatile *Target, LONG64 Value)
{
    return __atomic_fetch_and(Target, Value, __ATOMIC_SEQ_CST);
}
FORCEINLINE LONG64 InterlockedOr64(LONG64 volatile *Target, LONG64 Value)
{
    return __atomic_fetch_or(Target, Value, __ATOMIC_SEQ_CST);
}
FORCEINLINE LONG64 InterlockedXor64(LONG64 volatile *Target, LONG64 Value)
{
    return __atomic_fetch_xor(Target, Value, __ATOMIC_SEQ_CST);
}
FORCEINLINE LONG64 InterlockedIncrement64(LONG64 volatile *Addend)
{
    return __atomic_add_fetch(Addend, 1, __ATOMIC_SEQ_CST);
}
FORCEINLINE LONG64 InterlockedDecrement64(LONG64 volatile *Addend)
{
    return __atomic_sub_fetch(Addend, 1, __ATOMIC_SEQ_CST);
}
FORCEINLINE LONG64 InterlockedCompareExchange64(LONG64 volatile *Destination, LONG64 Exchange, LONG64 Comparand)
{
    __atomic_compare_exchange_n(Destination, &Comparand, Exchange, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
    return Comparand;
}

/* pointers */
FORCEINLINE PVOID InterlockedExchangePointer(PVOID volatile *Target, PVOID Value)
{
    return __atomic_exchange_n(Target, Value, __ATOMIC_SEQ_CST);
}
FORCEINLINE PVOID InterlockedCompareExchangePointer(PVOID volatile *Destination, PVOID Exchange, PVOID Comparand)
{
    __atomic_compare_exchange_n(Destination, &Comparand, Exchange, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
    return Comparand;
}
/* The call forms that take any pointer type without a cast, as Microsoft's compiler lets them. */
#ifndef __cplusplus
#define InterlockedExchangePointer(Target, Value) InterlockedExchangePointer((PVOID volatile *)(Target), (PVOID)(Value))
#define InterlockedCompareExchangePointer(Destination, Exchange, Comparand)                                                    \
    InterlockedCompareExchangePointer((PVOID volatile *)(Destination), (PVOID)(Exchange), (PVOID)(Comparand))
#endif

/* Compares 16 bytes at Destination (16-aligned) with ComparandResult; equal: stores ExchangeHigh:ExchangeLow
 * and returns 1. Otherwise returns 0. ComparandResult receives the old value either way. */
typedef struct _NTMM_INT128 {
    LONG64 Part[2];
} NTMM_INT128;
FORCEINLINE UCHAR InterlockedCompareExchange128(LONG64 volatile *Destination, LONG64 ExchangeHigh, LONG64 ExchangeLow,
                                                LONG64 *ComparandResult)
{
    UCHAR Equal;
    __asm__ volatile("lock cmpxchg16b %1\n\tsete %0"
                     : "=q"(Equal), "+m"(*(volatile NTMM_INT128 *)Destination), "+a"(ComparandResult[0]),
                       "+d"(ComparandResult[1])
                     : "b"(ExchangeLow), "c"(ExchangeHigh)
                     : "cc", "memory");
    return Equal;
}

FORCEINLINE UCHAR InterlockedBitTestAndSet(LONG volatile *Base, LONG Bit)
{
    LONG Mask = (LONG)(1U << (Bit & 31));
    return (__atomic_fetch_or(Base + (Bit >> 5), Mask, __ATOMIC_SEQ_CST) & Mask) != 0;
}
FORCEINLINE UCHAR InterlockedBitTestAndReset(LONG volatile *Base, LONG Bit)
{
    LONG Mask = (LONG)(1U << (Bit & 31));
    return (__atomic_fetch_and(Base + (Bit >> 5), ~Mask, __ATOMIC_SEQ_CST) & Mask) != 0;
}
FORCEINLINE UCHAR InterlockedBitTestAndComplement(LONG volatile *Base, LONG Bit)
{
    LONG Mask = (LONG)(1U << (Bit & 31));
    return (__atomic_fetch_xor(Base + (Bit >> 5), Mask, __ATOMIC_SEQ_CST) & Mask) != 0;
}
FORCEINLINE UCHAR InterlockedBitTestAndSet64(LONG64 volatile *Base, LONG64 Bit)
{
    LONG64 Mask = (LONG64)(1ULL << (Bit & 63));
    return (__atomic_fetch_or(Base + (Bit >> 6), Mask, __ATOMIC_SEQ_CST) & Mask) != 0;
}
FORCEINLINE UCHAR InterlockedBitTestAndReset64(LONG64 volatile *Base, LONG64 Bit)
{
    LONG64 Mask = (LONG64)(1ULL << (Bit & 63));
    return (__atomic_fetch_and(Base + (Bit >> 6), ~Mask, __ATOMIC_SEQ_CST) & Mask) != 0;
}

/* suffixed and underscored names */
#define InterlockedExchangeAcquire               InterlockedExchange
#define InterlockedExchangeRelease               InterlockedExchange
#define InterlockedExchangeNoFence               InterlockedExchange
#define _InterlockedExchange                     InterlockedExchange
#define InterlockedExchangeAddAcquire            InterlockedExchangeAdd
#define InterlockedExchangeAddRelease            InterlockedExchangeAdd
#define InterlockedExchangeAddNoFence            InterlockedExchangeAdd
#define _InterlockedExchangeAdd                  InterlockedExchangeAdd
#define InterlockedAndAcquire                    InterlockedAnd
#define InterlockedAndRelease                    InterlockedAnd
#define InterlockedAndNoFence                    InterlockedAnd
#define _InterlockedAnd                          InterlockedAnd
#define InterlockedOrAcquire                     InterlockedOr
#define InterlockedOrRelease                     InterlockedOr
#define InterlockedOrNoFence                     InterlockedOr
#define _InterlockedOr                           InterlockedOr
#define InterlockedXorAcquire                    InterlockedXor
#define InterlockedXorRelease                    InterlockedXor
#define InterlockedXorNoFence                    InterlockedXor
#define _InterlockedXor                          InterlockedXor
#define InterlockedIncrementAcquire              InterlockedIncrement
#define InterlockedIncrementRelease              InterlockedIncrement
#define InterlockedIncrementNoFence              InterlockedIncrement
#define _InterlockedIncrement                    InterlockedIncrement
#define InterlockedDecrementAcquire              InterlockedDecrement
#define InterlockedDecrementRelease              InterlockedDecrement
#define InterlockedDecrementNoFence              InterlockedDecrement
#define _InterlockedDecrement                    InterlockedDecrement
#define InterlockedCompareExchangeAcquire        InterlockedCompareExchange
#define InterlockedCompareExchangeRelease        InterlockedCompareExchange
#define InterlockedCompareExchangeNoFence        InterlockedCompareExchange
#define _InterlockedCompareExchange              InterlockedCompareExchange
#define InterlockedExchangeAcquire64             InterlockedExchange64
#define InterlockedExchangeRelease64             InterlockedExchange64
#define InterlockedExchangeNoFence64             InterlockedExchange64
#define _InterlockedExchange64                   InterlockedExchange64
#define InterlockedExchangeAddAcquire64          InterlockedExchangeAdd64
#define InterlockedExchangeAddRelease64          InterlockedExchangeAdd64
#define InterlockedExchangeAddNoFence64          InterlockedExchangeAdd64
#define _InterlockedExchangeAdd64                InterlockedExchangeAdd64
#define InterlockedAndAcquire64                  InterlockedAnd64
#define InterlockedAnd64Acquire                  InterlockedAnd64
#define InterlockedAndRelease64                  InterlockedAnd64
#define InterlockedAnd64Release                  InterlockedAnd64
#define InterlockedAndNoFence64                  InterlockedAnd64
#define InterlockedAnd64NoFence                  InterlockedAnd64
#define _InterlockedAnd64                        InterlockedAnd64
#define InterlockedOrAcquire64                   InterlockedOr64
#define InterlockedOr64Acquire                   InterlockedOr64
#define InterlockedOrRelease64                   InterlockedOr64
#define InterlockedOr64Release                   InterlockedOr64
#define InterlockedOrNoFence64                   InterlockedOr64
#define InterlockedOr64NoFence                   InterlockedOr64
#define _InterlockedOr64                         InterlockedOr64
#define InterlockedXorAcquire64                  InterlockedXor64
#define InterlockedXor64Acquire                  InterlockedXor64
#define InterlockedXorRelease64                  InterlockedXor64
#define InterlockedXor64Release                  InterlockedXor64
#define InterlockedXorNoFence64                  InterlockedXor64
#define InterlockedXor64NoFence                  InterlockedXor64
#define _InterlockedXor64                        InterlockedXor64
#define InterlockedIncrementAcquire64            InterlockedIncrement64
#define InterlockedIncrementRelease64            InterlockedIncrement64
#define InterlockedIncrementNoFence64            InterlockedIncrement64
#define _InterlockedIncrement64                  InterlockedIncrement64
#define InterlockedDecrementAcquire64            InterlockedDecrement64
#define InterlockedDecrementRelease64            InterlockedDecrement64
#define InterlockedDecrementNoFence64            InterlockedDecrement64
#define _InterlockedDecrement64                  InterlockedDecrement64
#define InterlockedCompareExchangeAcquire64      InterlockedCompareExchange64
#define InterlockedCompareExchangeRelease64      InterlockedCompareExchange64
#define InterlockedCompareExchangeNoFence64      InterlockedCompareExchange64
#define _InterlockedCompareExchange64            InterlockedCompareExchange64
#define InterlockedExchangeAcquire16             InterlockedExchange16
#define InterlockedExchangeRelease16             InterlockedExchange16
#define InterlockedExchangeNoFence16             InterlockedExchange16
#define _InterlockedExchange16                   InterlockedExchange16
#define InterlockedExchangeAddAcquire16          InterlockedExchangeAdd16
#define InterlockedExchangeAddRelease16          InterlockedExchangeAdd16
#define InterlockedExchangeAddNoFence16          InterlockedExchangeAdd16
#define _InterlockedExchangeAdd16                InterlockedExchangeAdd16
#define InterlockedAndAcquire16                  InterlockedAnd16
#define InterlockedAndRelease16                  InterlockedAnd16
#define InterlockedAndNoFence16                  InterlockedAnd16
#define _InterlockedAnd16                        InterlockedAnd16
#define InterlockedOrAcquire16                   InterlockedOr16
#define InterlockedOrRelease16                   InterlockedOr16
#define InterlockedOrNoFence16                   InterlockedOr16
#define _InterlockedOr16                         InterlockedOr16
#define InterlockedXorAcquire16                  InterlockedXor16
#define InterlockedXorRelease16                  InterlockedXor16
#define InterlockedXorNoFence16                  InterlockedXor16
#define _InterlockedXor16                        InterlockedXor16
#define InterlockedIncrementAcquire16            InterlockedIncrement16
#define InterlockedIncrementRelease16            InterlockedIncrement16
#define InterlockedIncrementNoFence16            InterlockedIncrement16
#define _InterlockedIncrement16                  InterlockedIncrement16
#define InterlockedDecrementAcquire16            InterlockedDecrement16
#define InterlockedDecrementRelease16            InterlockedDecrement16
#define InterlockedDecrementNoFence16            InterlockedDecrement16
#define _InterlockedDecrement16                  InterlockedDecrement16
#define InterlockedCompareExchangeAcquire16      InterlockedCompareExchange16
#define InterlockedCompareExchangeRelease16      InterlockedCompareExchange16
#define InterlockedCompareExchangeNoFence16      InterlockedCompareExchange16
#define _InterlockedCompareExchange16            InterlockedCompareExchange16
#define InterlockedExchangePointerAcquire        InterlockedExchangePointer
#define InterlockedExchangePointerRelease        InterlockedExchangePointer
#define InterlockedExchangePointerNoFence        InterlockedExchangePointer
#define _InterlockedExchangePointer              InterlockedExchangePointer
#define InterlockedCompareExchangePointerAcquire InterlockedCompareExchangePointer
#define InterlockedCompareExchangePointerRelease InterlockedCompareExchangePointer
#define InterlockedCompareExchangePointerNoFence InterlockedCompareExchangePointer
#define _InterlockedCompareExchangePointer       InterlockedCompareExchangePointer
#define _InterlockedExchange8                    InterlockedExchange8
#define _InterlockedExchangeAdd8                 InterlockedExchangeAdd8
#define _InterlockedAnd8                         InterlockedAnd8
#define _InterlockedOr8                          InterlockedOr8
#define _InterlockedXor8                         InterlockedXor8
#define _InterlockedCompareExchange128           InterlockedCompareExchange128
#define InterlockedAdd(Addend, Value)            (InterlockedExchangeAdd((Addend), (Value)) + (Value))
#define InterlockedAdd64(Addend, Value)          (InterlockedExchangeAdd64((Addend), (Value)) + (Value))
#define _InterlockedAdd                          InterlockedAdd
#define _InterlockedAdd64                        InterlockedAdd64
#define InterlockedAddNoFence64                  InterlockedAdd64
#define InterlockedAddNoFence                    InterlockedAdd
#define _interlockedbittestandset                InterlockedBitTestAndSet
#define _interlockedbittestandreset              InterlockedBitTestAndReset
#define _interlockedbittestandset64              InterlockedBitTestAndSet64
#define _interlockedbittestandreset64            InterlockedBitTestAndReset64
#define InterlockedExchangeAddSizeT(a, b)        InterlockedExchangeAdd64((LONG64 volatile *)(a), (LONG64)(b))
#define InterlockedIncrementSizeT(a)             ((SIZE_T)InterlockedIncrement64((LONG64 volatile *)(a)))
#define InterlockedDecrementSizeT(a)             ((SIZE_T)InterlockedDecrement64((LONG64 volatile *)(a)))
#define InterlockedIncrementULongPtr(a)          ((ULONG_PTR)InterlockedIncrement64((LONG64 volatile *)(a)))
#define InterlockedDecrementULongPtr(a)          ((ULONG_PTR)InterlockedDecrement64((LONG64 volatile *)(a)))

/* One read or write, with the ordering that the suffix says. */
FORCEINLINE CHAR ReadAcquire8(const volatile CHAR *Source)
{
    return __atomic_load_n(Source, __ATOMIC_ACQUIRE);
}
FORCEINLINE CHAR ReadNoFence8(const volatile CHAR *Source)
{
    return __atomic_load_n(Source, __ATOMIC_RELAXED);
}
FORCEINLINE VOID WriteNoFence8(CHAR volatile *Destination, CHAR Value)
{
    __atomic_store_n(Destination, Value, __ATOMIC_RELAXED);
}
FORCEINLINE VOID WriteRelease8(CHAR volatile *Destination, CHAR Value)
{
    __atomic_store_n(Destination, Value, __ATOMIC_RELEASE);
}
FORCEINLINE CHAR ReadRaw8(const volatile CHAR *Source)
{
    return __atomic_load_n(Source, __ATOMIC_RELAXED);
}
FORCEINLINE VOID WriteRaw8(CHAR volatile *Destination, CHAR Value)
{
    __atomic_store_n(Destination, Value, __ATOMIC_RELAXED);
}
FORCEINLINE SHORT ReadAcquire16(const volatile SHORT *Source)
{
    return __atomic_load_n(Source, __ATOMIC_ACQUIRE);
}
FORCEINLINE SHORT ReadNoFence16(const volatile SHORT *Source)
{
    return __atomic_load_n(Source, __ATOMIC_RELAXED);
}
FORCEINLINE VOID WriteNoFence16(SHORT volatile *Destination, SHORT Value)
{
    __atomic_store_n(Destination, Value, __ATOMIC_RELAXED);
}
FORCEINLINE VOID WriteRelease16(SHORT volatile *Destination, SHORT Value)
{
    __atomic_store_n(Destination, Value, __ATOMIC_RELEASE);
}
FORCEINLINE SHORT ReadRaw16(const volatile SHORT *Source)
{
    return __atomic_load_n(Source, __ATOMIC_RELAXED);
}
FORCEINLINE VOID WriteRaw16(SHORT volatile *Destination, SHORT Value)
{
    __atomic_store_n(Destination, Value, __ATOMIC_RELAXED);
}
FORCEINLINE LONG ReadAcquire(const volatile LONG *Source)
{
    return __atomic_load_n(Source, __ATOMIC_ACQUIRE);
}
FORCEINLINE LONG ReadNoFence(const volatile LONG *Source)
{
    return __atomic_load_n(Source, __ATOMIC_RELAXED);
}
FORCEINLINE VOID WriteNoFence(LONG volatile *Destination, LONG Value)
{
    __atomic_store_n(Destination, Value, __ATOMIC_RELAXED);
}
FORCEINLINE VOID WriteRelease(LONG volatile *Destination, LONG Value)
{
    __atomic_store_n(Destination, Value, __ATOMIC_RELEASE);
}
FORCEINLINE LONG ReadRaw(const volatile LONG *Source)
{
    return __atomic_load_n(Source, __ATOMIC_RELAXED);
}
FORCEINLINE VOID WriteRaw(LONG volatile *Destination, LONG Value)
{
    __atomic_store_n(Destination, Value, __ATOMIC_RELAXED);
}
FORCEINLINE LONG64 ReadAcquire64(const volatile LONG64 *Source)
{
    return __atomic_load_n(Source, __ATOMIC_ACQUIRE);
}
FORCEINLINE LONG64 ReadNoFence64(const volatile LONG64 *Source)
{
    return __atomic_load_n(Source, __ATOMIC_RELAXED);
}
FORCEINLINE VOID WriteNoFence64(LONG64 volatile *Destination, LONG64 Value)
{
    __atomic_store_n(Destination, Value, __ATOMIC_RELAXED);
}
FORCEINLINE VOID WriteRelease64(LONG64 volatile *Destination, LONG64 Value)
{
    __atomic_store_n(Destination, Value, __ATOMIC_RELEASE);
}
FORCEINLINE LONG64 ReadRaw64(const volatile LONG64 *Source)
{
    return __atomic_load_n(Source, __ATOMIC_RELAXED);
}
FORCEINLINE VOID WriteRaw64(LONG64 volatile *Destination, LONG64 Value)
{
    __atomic_store_n(Destination, Value, __ATOMIC_RELAXED);
}
#define ReadULongAcquire(p)       ((ULONG)ReadAcquire((const volatile LONG *)(p)))
#define ReadULongNoFence(p)       ((ULONG)ReadNoFence((const volatile LONG *)(p)))
#define ReadULongRaw(p)           ((ULONG)ReadRaw((const volatile LONG *)(p)))
#define WriteULongRelease(p, v)   WriteRelease((LONG volatile *)(p), (LONG)(v))
#define WriteULongNoFence(p, v)   WriteNoFence((LONG volatile *)(p), (LONG)(v))
#define WriteULongRaw(p, v)       WriteRaw((LONG volatile *)(p), (LONG)(v))
#define ReadULong64Acquire(p)     ((ULONG64)ReadAcquire64((const volatile LONG64 *)(p)))
#define ReadULong64NoFence(p)     ((ULONG64)ReadNoFence64((const volatile LONG64 *)(p)))
#define ReadULong64Raw(p)         ((ULONG64)ReadRaw64((const volatile LONG64 *)(p)))
#define WriteULong64Release(p, v) WriteRelease64((LONG64 volatile *)(p), (LONG64)(v))
#define WriteULong64NoFence(p, v) WriteNoFence64((LONG64 volatile *)(p), (LONG64)(v))
#define WriteULong64Raw(p, v)     WriteRaw64((LONG64 volatile *)(p), (LONG64)(v))
#define ReadPointerAcquire(p)     __atomic_load_n((p), __ATOMIC_ACQUIRE)
#define ReadPointerNoFence(p)     __atomic_load_n((p), __ATOMIC_RELAXED)
#define ReadPointerRaw(p)         __atomic_load_n((p), __ATOMIC_RELAXED)
#define WritePointerRelease(p, v) __atomic_store_n((p), (v), __ATOMIC_RELEASE)
#define WritePointerNoFence(p, v) __atomic_store_n((p), (v), __ATOMIC_RELAXED)
#define WritePointerRaw(p, v)     __atomic_store_n((p), (v), __ATOMIC_RELAXED)

/* barriers */
/* Not __atomic_thread_fence: gcc refuses it under -fsanitize=thread, which knows nothing of fences anyway. */
#define KeMemoryBarrier()                 __asm__ volatile("lock; orl $0, (%%rsp)" ::: "memory", "cc")
#define KeMemoryBarrierWithoutFence()     __asm__ volatile("" ::: "memory")
#define MemoryBarrier()                   KeMemoryBarrier()
#define _ReadWriteBarrier()               KeMemoryBarrierWithoutFence()
#define _ReadBarrier()                    KeMemoryBarrierWithoutFence()
#define _WriteBarrier()                   KeMemoryBarrierWithoutFence()
#define YieldProcessor()                  __asm__ volatile("pause" ::: "memory")
#define FastFence()                       KeMemoryBarrierWithoutFence()
#define LoadFence()                       __asm__ volatile("lfence" ::: "memory")
#define StoreFence()                      __asm__ volatile("sfence" ::: "memory")
#define MemoryFence()                     __asm__ volatile("mfence" ::: "memory")
#define PreFetchCacheLine(level, address) __builtin_prefetch(address)
#define PF_TEMPORAL_LEVEL_1               1
#define PF_TEMPORAL_LEVEL_2               2
#define PF_TEMPORAL_LEVEL_3               3
#define PF_NON_TEMPORAL_LEVEL_ALL         0

/* bit scans: 0 and an unchanged Index if Mask is 0 */
FORCEINLINE UCHAR BitScanForward(ULONG *Index, ULONG Mask)
{
    if (Mask == 0)
        return 0;
    *Index = (ULONG)__builtin_ctz(Mask);
    return 1;
}
FORCEINLINE UCHAR BitScanReverse(ULONG *Index, ULONG Mask)
{
    if (Mask == 0)
        return 0;
    *Index = 31 - (ULONG)__builtin_clz(Mask);
    return 1;
}
FORCEINLINE UCHAR BitScanForward64(ULONG *Index, ULONG64 Mask)
{
    if (Mask == 0)
        return 0;
    *Index = (ULONG)__builtin_ctzll(Mask);
    return 1;
}
FORCEINLINE UCHAR BitScanReverse64(ULONG *Index, ULONG64 Mask)
{
    if (Mask == 0)
        return 0;
    *Index = 63 - (ULONG)__builtin_clzll(Mask);
    return 1;
}
#define _BitScanForward   BitScanForward
#define _BitScanReverse   BitScanReverse
#define _BitScanForward64 BitScanForward64
#define _BitScanReverse64 BitScanReverse64
FORCEINLINE UCHAR BitTest(const LONG *Base, LONG Bit)
{
    return (Base[Bit >> 5] >> (Bit & 31)) & 1;
}
FORCEINLINE UCHAR BitTest64(const LONG64 *Base, LONG64 Bit)
{
    return (Base[Bit >> 6] >> (Bit & 63)) & 1;
}
#define _bittest            BitTest
#define _bittest64          BitTest64
#define __popcnt(v)         ((ULONG)__builtin_popcount(v))
#define __popcnt64(v)       ((ULONG64)__builtin_popcountll(v))
#define __lzcnt(v)          ((v) ? (ULONG)__builtin_clz(v) : 32U)
#define __lzcnt64(v)        ((v) ? (ULONG64)__builtin_clzll(v) : 64ULL)
#define _byteswap_ushort(v) __builtin_bswap16(v)
#define _byteswap_ulong(v)  __builtin_bswap32(v)
#define _byteswap_uint64(v) __builtin_bswap64(v)
/* gcc's and clang's own headers define the rotates as macros of these names. */
#ifndef _rotl
#define _rotl(v, s) ((ULONG)(((ULONG)(v) << ((s)&31)) | ((ULONG)(v) >> (-(s)&31))))
#define _rotr(v, s) ((ULONG)(((ULONG)(v) >> ((s)&31)) | ((ULONG)(v) << (-(s)&31))))
#endif
#ifndef _rotl64
#define _rotl64(v, s) ((ULONG64)(((ULONG64)(v) << ((s)&63)) | ((ULONG64)(v) >> (-(s)&63))))
#define _rotr64(v, s) ((ULONG64)(((ULONG64)(v) >> ((s)&63)) | ((ULONG64)(v) << (-(s)&63))))
#endif
#define RotateLeft32  _rotl
#define RotateLeft64  _rotl64
#define RotateRight32 _rotr
#define RotateRight64 _rotr64
FORCEINLINE ULONG64 UnsignedMultiply128(ULONG64 Multiplier, ULONG64 Multiplicand, ULONG64 *HighProduct)
{
    unsigned __int128 Product = (unsigned __int128)Multiplier * Multiplicand;
    *HighProduct = (ULONG64)(Product >> 64);
    return (ULONG64)Product;
}
#define _umul128                   UnsignedMultiply128
#define UnsignedMultiplyHigh(a, b) ((ULONG64)(((unsigned __int128)(a) * (b)) >> 64))
#define __umulh                    UnsignedMultiplyHigh

/* CPUID is not privileged: the machine answers. The names of gcc's and clang's cpuid.h win when it is
 * included first. */
FORCEINLINE VOID NtmmCpuid(INT Registers[4], INT Function, INT SubFunction)
{
    __asm__ volatile("cpuid"
                     : "=a"(Registers[0]), "=b"(Registers[1]), "=c"(Registers[2]), "=d"(Registers[3])
                     : "a"(Function), "c"(SubFunction));
}
#ifndef __cpuid
#define __cpuid(Registers, Function)                NtmmCpuid((Registers), (Function), 0)
#define __cpuidex(Registers, Function, SubFunction) NtmmCpuid((Registers), (Function), (SubFunction))
#endif
#ifndef __rdtsc
#define __rdtsc() ((ULONG64)__builtin_ia32_rdtsc())
#endif
#define ReadTimeStampCounter() ((ULONG64)__builtin_ia32_rdtsc())

/* Byte and word runs, as the string instructions they name; as loops where the memory sanitizer is to see what they write. */
#if defined(__has_feature)
#if __has_feature(memory_sanitizer)
#define NTMM_STRINGS_AS_LOOPS 1
#endif
#endif
#ifdef NTMM_STRINGS_AS_LOOPS
FORCEINLINE VOID NtmmMovsb(UCHAR *Destination, const UCHAR *Source, size_t Count)
{
    for (; Count != 0; Count--)
        *Destination++ = *Source++;
}
FORCEINLINE VOID NtmmStosb(UCHAR *Destination, UCHAR Value, size_t Count)
{
    for (; Count != 0; Count--)
        *Destination++ = Value;
}
FORCEINLINE VOID NtmmStosd(ULONG *Destination, ULONG Value, size_t Count)
{
    for (; Count != 0; Count--)
        *Destination++ = Value;
}
FORCEINLINE VOID NtmmStosq(ULONG64 *Destination, ULONG64 Value, size_t Count)
{
    for (; Count != 0; Count--)
        *Destination++ = Value;
}
FORCEINLINE VOID NtmmMovsq(ULONG64 *Destination, const ULONG64 *Source, size_t Count)
{
    for (; Count != 0; Count--)
        *Destination++ = *Source++;
}
#else
FORCEINLINE VOID NtmmMovsb(UCHAR *Destination, const UCHAR *Source, size_t Count)
{
    __asm__ volatile("rep movsb" : "+D"(Destination), "+S"(Source), "+c"(Count) : : "memory");
}
FORCEINLINE VOID NtmmStosb(UCHAR *Destination, UCHAR Value, size_t Count)
{
    __asm__ volatile("rep stosb" : "+D"(Destination), "+c"(Count) : "a"(Value) : "memory");
}
FORCEINLINE VOID NtmmStosd(ULONG *Destination, ULONG Value, size_t Count)
{
    __asm__ volatile("rep stosl" : "+D"(Destination), "+c"(Count) : "a"(Value) : "memory");
}
FORCEINLINE VOID NtmmStosq(ULONG64 *Destination, ULONG64 Value, size_t Count)
{
    __asm__ volatile("rep stosq" : "+D"(Destination), "+c"(Count) : "a"(Value) : "memory");
}
FORCEINLINE VOID NtmmMovsq(ULONG64 *Destination, const ULONG64 *Source, size_t Count)
{
    __asm__ volatile("rep movsq" : "+D"(Destination), "+S"(Source), "+c"(Count) : : "memory");
}
#endif

#define __movsb NtmmMovsb
#define __movsq NtmmMovsq
#define __stosb NtmmStosb
#define __stosd NtmmStosd
#define __stosq NtmmStosq

/* the codes of RtlFailFast (rtl.h), alias __fastfail */
#define FAST_FAIL_LEGACY_GS_VIOLATION          0
#define FAST_FAIL_VTGUARD_CHECK_FAILURE        1
#define FAST_FAIL_STACK_COOKIE_CHECK_FAILURE   2
#define FAST_FAIL_CORRUPT_LIST_ENTRY           3
#define FAST_FAIL_INCORRECT_STACK              4
#define FAST_FAIL_INVALID_ARG                  5
#define FAST_FAIL_GS_COOKIE_INIT               6
#define FAST_FAIL_FATAL_APP_EXIT               7
#define FAST_FAIL_RANGE_CHECK_FAILURE          8
#define FAST_FAIL_UNSAFE_REGISTRY_ACCESS       9
#define FAST_FAIL_GUARD_ICALL_CHECK_FAILURE    10
#define FAST_FAIL_GUARD_WRITE_CHECK_FAILURE    11
#define FAST_FAIL_INVALID_FIBER_SWITCH         12
#define FAST_FAIL_INVALID_SET_OF_CONTEXT       13
#define FAST_FAIL_INVALID_REFERENCE_COUNT      14
#define FAST_FAIL_INVALID_JUMP_BUFFER          18
#define FAST_FAIL_MRDATA_MODIFIED              19
#define FAST_FAIL_CERTIFICATION_FAILURE        20
#define FAST_FAIL_INVALID_EXCEPTION_CHAIN      21
#define FAST_FAIL_CRYPTO_LIBRARY               22
#define FAST_FAIL_INVALID_CALL_IN_DLL_CALLOUT  23
#define FAST_FAIL_INVALID_IMAGE_BASE           24
#define FAST_FAIL_DLOAD_PROTECTION_FAILURE     25
#define FAST_FAIL_UNSAFE_EXTENSION_CALL        26
#define FAST_FAIL_DEPRECATED_SERVICE_INVOKED   27
#define FAST_FAIL_INVALID_BUFFER_ACCESS        28
#define FAST_FAIL_INVALID_BALANCED_TREE        29
#define FAST_FAIL_INVALID_NEXT_THREAD          30
#define FAST_FAIL_GUARD_ICALL_CHECK_SUPPRESSED 31
#define FAST_FAIL_APCS_DISABLED                32
#define FAST_FAIL_INVALID_IDLE_STATE           33
#define FAST_FAIL_INVALID_EXCEPTION_HANDLER    40
#define FAST_FAIL_INVALID_LOCK_STATE           42
#define FAST_FAIL_INVALID_FAST_FAIL_CODE       0xFFFFFFFF
#endif
