/*
 * memory.c - Rtl memory routines: compare, fill, volatile and device forms, persistent memory.
 *
 * The plain copies and fills are macros over the four memory functions that every freestanding C environment
 * has. What is here either reports where memory differs, or must not be merged, widened or dropped by the
 * compiler.
 *
 * Persistent memory: all RAM of ntmm is ordinary cached memory, so flushing is a write-back of its cache
 * lines and a fence; the token carries no state and any non-NULL token is accepted. SPDX-License-Identifier:
 * MIT
 */
#include "rtl/rtlp.h"

#define RTLP_NV_TOKEN ((PVOID)(ULONG_PTR)0x4E56) /* no storage behind it */

SIZE_T RtlCompareMemory(const VOID *Source1, const VOID *Source2, SIZE_T Length)
{
    const UCHAR *A = Source1, *B = Source2;
    SIZE_T i = 0;
    for (; i + 8 <= Length; i += 8) {
        ULONG64 X, Y;
        memcpy(&X, A + i, 8);
        memcpy(&Y, B + i, 8);
        if (X != Y)
            return i + (SIZE_T)__builtin_ctzll(X ^ Y) / 8;
    }
    while (i < Length && A[i] == B[i])
        i++;
    return i;
}

SIZE_T RtlCompareMemoryUlong(PVOID Source, SIZE_T Length, ULONG Pattern)
{
    const ULONG *Words = Source;
    SIZE_T i = 0;
    if ((ULONG_PTR)Source & 3)
        return 0;
    while (i < Length / 4 && Words[i] == Pattern)
        i++;
    return i * 4;
}

VOID RtlFillMemoryUlong(PVOID Destination, SIZE_T Length, ULONG Pattern)
{
    PULONG Words = Destination;
    for (SIZE_T i = 0; i < Length / 4; i++)
        Words[i] = Pattern;
}

VOID RtlFillMemoryUlonglong(PVOID Destination, SIZE_T Length, ULONGLONG Pattern)
{
    PULONGLONG Words = Destination;
    for (SIZE_T i = 0; i < Length / 8; i++)
        Words[i] = Pattern;
}

VOID RtlCopyMemoryNonTemporal(VOID *Destination, const VOID *Source, SIZE_T Length)
{
    memcpy(Destination, Source, Length);
}

VOID RtlFillMemoryNonTemporal(VOID *Destination, SIZE_T Length, UCHAR Value)
{
    memset(Destination, Value, Length);
}

VOID RtlPrefetchMemoryNonTemporal(PVOID Source, SIZE_T Length)
{
    for (SIZE_T i = 0; i < Length; i += 64)
        __builtin_prefetch((PUCHAR)Source + i, 0, 0);
}

BOOLEAN RtlIsZeroMemory(PVOID Buffer, SIZE_T Length)
{
    const UCHAR *Bytes = Buffer;
    for (SIZE_T i = 0; i < Length; i++)
        if (Bytes[i] != 0)
            return FALSE;
    return TRUE;
}

LOGICAL RtlConstantTimeEqualMemory(const VOID *v1, const VOID *v2, ULONG len)
{
    const volatile UCHAR *A = v1, *B = v2;
    UCHAR Difference = 0;
    for (ULONG i = 0; i < len; i++)
        Difference |= (UCHAR)(A[i] ^ B[i]);
    return Difference == 0;
}

/* Volatile: one access for each byte, in ascending order (Move: in the order that survives overlap). */
volatile VOID *RtlCopyVolatileMemory(volatile VOID *Destination, volatile const VOID *Source, SIZE_T Length)
{
    volatile UCHAR *To = Destination;
    volatile const UCHAR *From = Source;
    for (SIZE_T i = 0; i < Length; i++)
        To[i] = From[i];
    return Destination;
}

volatile VOID *RtlMoveVolatileMemory(volatile VOID *Destination, volatile const VOID *Source, SIZE_T Length)
{
    volatile UCHAR *To = Destination;
    volatile const UCHAR *From = Source;
    if ((ULONG_PTR)To - (ULONG_PTR)From >= Length)
        return RtlCopyVolatileMemory(Destination, Source, Length);
    for (SIZE_T i = Length; i-- > 0;)
        To[i] = From[i];
    return Destination;
}

volatile VOID *RtlSetVolatileMemory(volatile VOID *Destination, INT Value, SIZE_T Length)
{
    volatile UCHAR *To = Destination;
    for (SIZE_T i = 0; i < Length; i++)
        To[i] = (UCHAR)Value;
    return Destination;
}

volatile VOID *RtlFillVolatileMemory(volatile VOID *Destination, SIZE_T Length, INT Fill)
{
    return RtlSetVolatileMemory(Destination, Fill, Length);
}

volatile VOID *RtlZeroVolatileMemory(volatile VOID *Destination, SIZE_T Length)
{
    return RtlSetVolatileMemory(Destination, 0, Length);
}

/* Device: the widest access that both addresses' alignment allows, each done once. */
volatile VOID *RtlCopyDeviceMemory(volatile VOID *Destination, volatile const VOID *Source, SIZE_T Length)
{
    ULONG_PTR To = (ULONG_PTR)Destination, From = (ULONG_PTR)Source;
    while (Length != 0) {
        if (((To | From) & 7) == 0 && Length >= 8) {
            *(volatile ULONG64 *)To = *(volatile const ULONG64 *)From;
            To += 8, From += 8, Length -= 8;
        } else if (((To | From) & 3) == 0 && Length >= 4) {
            *(volatile ULONG *)To = *(volatile const ULONG *)From;
            To += 4, From += 4, Length -= 4;
        } else if (((To | From) & 1) == 0 && Length >= 2) {
            *(volatile USHORT *)To = *(volatile const USHORT *)From;
            To += 2, From += 2, Length -= 2;
        } else {
            *(volatile UCHAR *)To = *(volatile const UCHAR *)From;
            To++, From++, Length--;
        }
    }
    return Destination;
}

volatile VOID *RtlSetDeviceMemory(volatile VOID *Destination, INT Value, SIZE_T Length)
{
    ULONG_PTR To = (ULONG_PTR)Destination;
    ULONG64 Pattern = (UCHAR)Value * 0x0101010101010101ULL;
    while (Length != 0) {
        if ((To & 7) == 0 && Length >= 8) {
            *(volatile ULONG64 *)To = Pattern;
            To += 8, Length -= 8;
        } else if ((To & 3) == 0 && Length >= 4) {
            *(volatile ULONG *)To = (ULONG)Pattern;
            To += 4, Length -= 4;
        } else if ((To & 1) == 0 && Length >= 2) {
            *(volatile USHORT *)To = (USHORT)Pattern;
            To += 2, Length -= 2;
        } else {
            *(volatile UCHAR *)To = (UCHAR)Pattern;
            To++, Length--;
        }
    }
    return Destination;
}

volatile VOID *RtlFillDeviceMemory(volatile VOID *Destination, SIZE_T Length, INT Fill)
{
    return RtlSetDeviceMemory(Destination, Fill, Length);
}

volatile VOID *RtlZeroDeviceMemory(volatile VOID *Destination, SIZE_T Length)
{
    return RtlSetDeviceMemory(Destination, 0, Length);
}

/* ---- persistent memory ---- */
static VOID RtlpWriteBack(const VOID *Buffer, SIZE_T Size)
{
    for (ULONG_PTR Line = (ULONG_PTR)Buffer & ~(ULONG_PTR)63; Line < (ULONG_PTR)Buffer + Size; Line += 64)
        __asm__ volatile("clflush %0" : "+m"(*(volatile CHAR *)Line));
}

NTSTATUS RtlGetNonVolatileToken(PVOID NvBuffer, SIZE_T Size, PVOID *NvToken)
{
    if (NvBuffer == NULL || Size == 0 || NvToken == NULL)
        return STATUS_INVALID_PARAMETER;
    *NvToken = RTLP_NV_TOKEN;
    return STATUS_SUCCESS;
}

NTSTATUS RtlFreeNonVolatileToken(PVOID NvToken)
{
    return NvToken != NULL ? STATUS_SUCCESS : STATUS_INVALID_PARAMETER;
}

NTSTATUS RtlDrainNonVolatileFlush(PVOID NvToken)
{
    if (NvToken == NULL)
        return STATUS_INVALID_PARAMETER;
    __asm__ volatile("sfence" : : : "memory");
    return STATUS_SUCCESS;
}

NTSTATUS RtlFlushNonVolatileMemory(PVOID NvToken, PVOID NvBuffer, SIZE_T Size, ULONG Flags)
{
    if (NvToken == NULL || NvBuffer == NULL || (Flags & ~(ULONG)FLUSH_NV_MEMORY_IN_FLAG_NO_DRAIN))
        return STATUS_INVALID_PARAMETER;
    RtlpWriteBack(NvBuffer, Size);
    return Flags & FLUSH_NV_MEMORY_IN_FLAG_NO_DRAIN ? STATUS_SUCCESS : RtlDrainNonVolatileFlush(NvToken);
}

NTSTATUS RtlFlushNonVolatileMemoryRanges(PVOID NvToken, PNV_MEMORY_RANGE NvRanges, SIZE_T NumRanges, ULONG Flags)
{
    if (NvToken == NULL || NvRanges == NULL || (Flags & ~(ULONG)FLUSH_NV_MEMORY_IN_FLAG_NO_DRAIN))
        return STATUS_INVALID_PARAMETER;
    for (SIZE_T i = 0; i < NumRanges; i++)
        RtlpWriteBack(NvRanges[i].BaseAddress, NvRanges[i].Length);
    return Flags & FLUSH_NV_MEMORY_IN_FLAG_NO_DRAIN ? STATUS_SUCCESS : RtlDrainNonVolatileFlush(NvToken);
}

NTSTATUS RtlWriteNonVolatileMemory(PVOID NvToken, VOID *NvDestination, const VOID *Source, SIZE_T Size, ULONG Flags)
{
    if (NvToken == NULL || NvDestination == NULL || Source == NULL ||
        (Flags & ~(ULONG)(WRITE_NV_MEMORY_FLAG_PERSIST | WRITE_NV_MEMORY_FLAG_NO_DRAIN)))
        return STATUS_INVALID_PARAMETER;
    memmove(NvDestination, Source, Size);
    if ((Flags & WRITE_NV_MEMORY_FLAG_PERSIST) == 0)
        return STATUS_SUCCESS;
    RtlpWriteBack(NvDestination, Size);
    return Flags & WRITE_NV_MEMORY_FLAG_NO_DRAIN ? STATUS_SUCCESS : RtlDrainNonVolatileFlush(NvToken);
}

NTSTATUS RtlFillNonVolatileMemory(PVOID NvToken, VOID *NvDestination, SIZE_T Size, UCHAR Value, ULONG Flags)
{
    if (NvToken == NULL || NvDestination == NULL ||
        (Flags & ~(ULONG)(FILL_NV_MEMORY_FLAG_PERSIST | FILL_NV_MEMORY_FLAG_NO_DRAIN)))
        return STATUS_INVALID_PARAMETER;
    memset(NvDestination, Value, Size);
    if ((Flags & FILL_NV_MEMORY_FLAG_PERSIST) == 0)
        return STATUS_SUCCESS;
    RtlpWriteBack(NvDestination, Size);
    return Flags & FILL_NV_MEMORY_FLAG_NO_DRAIN ? STATUS_SUCCESS : RtlDrainNonVolatileFlush(NvToken);
}
