/*
 * usermode_accessors.h - user-mode accessors: reads, writes and copies of user memory that check the address by themselves.
 * SPDX-License-Identifier: MIT
 *
 * Every routine XxxFromUser, XxxToUser checks that the range lies in user space and touches it once, volatile; what is wrong with it raises:
 * STATUS_ACCESS_VIOLATION (a kernel address, nothing there, read-only), or what the page's fault raises. Call them within __try. The forms XxxMode
 * do so for UserMode and access a kernel address plainly for KernelMode. Nothing asks for alignment but the Aligned and the Interlocked forms
 * (STATUS_DATATYPE_MISALIGNMENT, for user addresses). A length of 0 touches and checks nothing. IRQL <= APC_LEVEL.
 * Pages: usermode_accessors.h header, "User-Mode Accessors".
 *
 * Everything is inline, as the kit's library umaccess.lib is linked into each driver. The routines named Rtl..., which that page reserves for
 * the system, are not here.
 */
#ifndef _NTMM_USERMODE_ACCESSORS_
#define _NTMM_USERMODE_ACCESSORS_
#include "wdm.h"

/* What the address may be is the routines' business: a sanitizer's opinion of NULL or of its alignment is not asked for. */
#define NTMM_UMA static __inline__ __attribute__((unused, no_sanitize("null"), no_sanitize("alignment")))
/* Loads are acquire and stores are release in order on x64: the compiler is told. */
#define NTMM_UMA_ORDER() __asm__ __volatile__("" ::: "memory")

/* The check alone: a write is one of the caller's own, so that nothing is written twice. */
NTMM_UMA VOID NtmmUmaCheck(const volatile VOID *Address, SIZE_T Length, ULONG Alignment)
{
    ProbeForRead((const volatile VOID *)Address, Length, Alignment);
}

/* ---- values ---- ReadXxxFromUser, ReadXxxFromUserAcquire, ReadXxxFromMode, WriteXxxToUser, WriteXxxToUserRelease, WriteXxxToMode */
#define NTMM_UMA_VALUE(Name, Type)                                                                                             \
    typedef Type __attribute__((aligned(1), may_alias)) NTMM_UMA_##Name;                                                       \
    NTMM_UMA Type Read##Name##FromUser(const volatile Type *Source)                                                            \
    {                                                                                                                          \
        NtmmUmaCheck(Source, sizeof(Type), 1);                                                                                 \
        return *(const volatile NTMM_UMA_##Name *)Source;                                                                      \
    }                                                                                                                          \
    NTMM_UMA Type Read##Name##FromUserAcquire(const volatile Type *Source)                                                     \
    {                                                                                                                          \
        Type Value = Read##Name##FromUser(Source);                                                                             \
        NTMM_UMA_ORDER();                                                                                                      \
        return Value;                                                                                                          \
    }                                                                                                                          \
    NTMM_UMA Type Read##Name##FromMode(const volatile Type *Source, KPROCESSOR_MODE Mode)                                      \
    {                                                                                                                          \
        if (Mode != KernelMode)                                                                                                \
            NtmmUmaCheck(Source, sizeof(Type), 1);                                                                             \
        return *(const volatile NTMM_UMA_##Name *)Source;                                                                      \
    }                                                                                                                          \
    NTMM_UMA VOID Write##Name##ToUser(volatile Type *Destination, Type Value)                                                  \
    {                                                                                                                          \
        NtmmUmaCheck(Destination, sizeof(Type), 1);                                                                            \
        *(volatile NTMM_UMA_##Name *)Destination = Value;                                                                      \
    }                                                                                                                          \
    NTMM_UMA VOID Write##Name##ToUserRelease(volatile Type *Destination, Type Value)                                           \
    {                                                                                                                          \
        NTMM_UMA_ORDER();                                                                                                      \
        Write##Name##ToUser(Destination, Value);                                                                               \
    }                                                                                                                          \
    NTMM_UMA VOID Write##Name##ToMode(volatile Type *Destination, Type Value, KPROCESSOR_MODE Mode)                            \
    {                                                                                                                          \
        if (Mode != KernelMode)                                                                                                \
            NtmmUmaCheck(Destination, sizeof(Type), 1);                                                                        \
        *(volatile NTMM_UMA_##Name *)Destination = Value;                                                                      \
    }
NTMM_UMA_VALUE(Boolean, BOOLEAN)
NTMM_UMA_VALUE(Char, CHAR)
NTMM_UMA_VALUE(Handle, HANDLE)
NTMM_UMA_VALUE(Int8, INT8)
NTMM_UMA_VALUE(Int16, INT16)
NTMM_UMA_VALUE(Int32, INT32)
NTMM_UMA_VALUE(Int64, INT64)
NTMM_UMA_VALUE(IntPtr, INT_PTR)
NTMM_UMA_VALUE(Long, LONG)
NTMM_UMA_VALUE(Long64, LONG64)
NTMM_UMA_VALUE(Longlong, LONGLONG)
NTMM_UMA_VALUE(LongPtr, LONG_PTR)
NTMM_UMA_VALUE(NtStatus, NTSTATUS)
NTMM_UMA_VALUE(Pointer, PVOID)
NTMM_UMA_VALUE(Short, SHORT)
NTMM_UMA_VALUE(SizeT, SIZE_T)
NTMM_UMA_VALUE(SSizeT, SSIZE_T)
NTMM_UMA_VALUE(UChar, UCHAR)
NTMM_UMA_VALUE(UInt8, UINT8)
NTMM_UMA_VALUE(UInt16, UINT16)
NTMM_UMA_VALUE(UInt32, UINT32)
NTMM_UMA_VALUE(UInt64, UINT64)
NTMM_UMA_VALUE(UIntPtr, UINT_PTR)
NTMM_UMA_VALUE(ULong, ULONG)
NTMM_UMA_VALUE(ULong64, ULONG64)
NTMM_UMA_VALUE(ULonglong, ULONGLONG)
NTMM_UMA_VALUE(ULongPtr, ULONG_PTR)
NTMM_UMA_VALUE(UShort, USHORT)
NTMM_UMA_VALUE(WChar, WCHAR)

/* ---- bytes ---- */
NTMM_UMA VOID NtmmUmaMove(volatile VOID *Destination, const volatile VOID *Source, SIZE_T Length)
{
    volatile UCHAR *To = (volatile UCHAR *)Destination;
    const volatile UCHAR *From = (const volatile UCHAR *)Source;
    SIZE_T Done = 0;
    if ((ULONG_PTR)To - (ULONG_PTR)From < Length) { /* it overlaps from behind */
        while (Length-- != 0)
            To[Length] = From[Length];
        return;
    }
    for (; Length - Done >= 8; Done += 8)
        *(volatile NTMM_UMA_ULong64 *)(To + Done) = *(const volatile NTMM_UMA_ULong64 *)(From + Done);
    for (; Done < Length; Done++)
        To[Done] = From[Done];
}

NTMM_UMA VOID NtmmUmaFill(volatile VOID *Destination, UCHAR Fill, SIZE_T Length)
{
    volatile UCHAR *To = (volatile UCHAR *)Destination;
    while (Length-- != 0)
        *To++ = Fill;
}

/* Copies. ToMode, FromMode: which side Mode is about. The NonTemporal forms promise nothing but the copy. Pages: CopyFromUser and its kin */
NTMM_UMA VOID CopyFromMode(volatile VOID *Destination, const volatile VOID *Source, SIZE_T Length, KPROCESSOR_MODE Mode)
{
    if (Mode != KernelMode)
        NtmmUmaCheck(Source, Length, 1);
    NtmmUmaMove(Destination, Source, Length);
}
NTMM_UMA VOID CopyToMode(volatile VOID *Destination, const volatile VOID *Source, SIZE_T Length, KPROCESSOR_MODE Mode)
{
    if (Mode != KernelMode)
        NtmmUmaCheck(Destination, Length, 1);
    NtmmUmaMove(Destination, Source, Length);
}
NTMM_UMA VOID CopyFromUser(volatile VOID *Destination, const volatile VOID *Source, SIZE_T Length)
{
    CopyFromMode(Destination, Source, Length, UserMode);
}
NTMM_UMA VOID CopyToUser(volatile VOID *Destination, const volatile VOID *Source, SIZE_T Length)
{
    CopyToMode(Destination, Source, Length, UserMode);
}
NTMM_UMA VOID CopyFromUserToMode(volatile VOID *Destination, const volatile VOID *Source, SIZE_T Length, KPROCESSOR_MODE Mode)
{
    NtmmUmaCheck(Source, Length, 1);
    CopyToMode(Destination, Source, Length, Mode);
}
NTMM_UMA VOID CopyToUserFromUser(volatile VOID *Destination, const volatile VOID *Source, SIZE_T Length)
{
    CopyFromUserToMode(Destination, Source, Length, UserMode);
}
/* The two may overlap. */
NTMM_UMA VOID MoveToUserFromUser(volatile VOID *Destination, const volatile VOID *Source, SIZE_T Length)
{
    CopyFromUserToMode(Destination, Source, Length, UserMode);
}
#define CopyFromUserNonTemporal CopyFromUser
#define CopyFromModeNonTemporal CopyFromMode
#define CopyToUserNonTemporal   CopyToUser
#define CopyToModeNonTemporal   CopyToMode
#define CopyFromUserAligned(Destination, Source, Length, Alignment)                                                            \
    (NtmmUmaCheck((Source), (Length), (Alignment)), CopyFromUser((Destination), (Source), (Length)))
#define CopyFromModeAligned(Destination, Source, Length, Mode, Alignment)                                                      \
    ((Mode) != KernelMode ? NtmmUmaCheck((Source), (Length), (Alignment)) : (VOID)0,                                           \
     CopyFromMode((Destination), (Source), (Length), (Mode)))

/* Fills. Page: SetUserMemory, FillUserMemory and their kin */
NTMM_UMA VOID SetModeMemory(volatile VOID *Destination, UCHAR Fill, SIZE_T Length, KPROCESSOR_MODE Mode)
{
    if (Mode != KernelMode)
        NtmmUmaCheck(Destination, Length, 1);
    NtmmUmaFill(Destination, Fill, Length);
}
NTMM_UMA VOID SetUserMemory(volatile VOID *Destination, UCHAR Fill, SIZE_T Length)
{
    SetModeMemory(Destination, Fill, Length, UserMode);
}
NTMM_UMA VOID FillUserMemory(volatile VOID *Destination, SIZE_T Length, UCHAR Fill)
{
    SetModeMemory(Destination, Fill, Length, UserMode);
}
NTMM_UMA VOID FillModeMemory(volatile VOID *Destination, SIZE_T Length, UCHAR Fill, KPROCESSOR_MODE Mode)
{
    SetModeMemory(Destination, Fill, Length, Mode);
}
NTMM_UMA VOID ZeroUserMemory(volatile VOID *Destination, SIZE_T Length)
{
    SetModeMemory(Destination, 0, Length, UserMode);
}
NTMM_UMA VOID ZeroModeMemory(volatile VOID *Destination, SIZE_T Length, KPROCESSOR_MODE Mode)
{
    SetModeMemory(Destination, 0, Length, Mode);
}

/* Characters before the first zero. Pages: StringLengthFromUser, WideStringLengthFromUser, and by mode */
NTMM_UMA SIZE_T StringLengthFromMode(const volatile CHAR *String, KPROCESSOR_MODE Mode)
{
    SIZE_T Length = 0;
    while (ReadCharFromMode(&String[Length], Mode) != 0)
        Length++;
    return Length;
}
NTMM_UMA SIZE_T WideStringLengthFromMode(const volatile WCHAR *String, KPROCESSOR_MODE Mode)
{
    SIZE_T Length = 0;
    while (ReadWCharFromMode(&String[Length], Mode) != 0)
        Length++;
    return Length;
}
NTMM_UMA SIZE_T StringLengthFromUser(const volatile CHAR *String)
{
    return StringLengthFromMode(String, UserMode);
}
NTMM_UMA SIZE_T WideStringLengthFromUser(const volatile WCHAR *String)
{
    return WideStringLengthFromMode(String, UserMode);
}

/* ---- structures ---- the size is the destination's (the source's for a write); both are pointers to one type.
 * Pages: ReadStructFromUser and its kin */
#define ReadStructFromUserHelper(Destination, Source, Size)       CopyFromUser((Destination), (Source), (Size))
#define ReadStructFromModeHelper(Destination, Source, Size, Mode) CopyFromMode((Destination), (Source), (Size), (Mode))
#define WriteStructToUserHelper(Destination, Source, Size)        CopyToUser((Destination), (Source), (Size))
#define WriteStructToModeHelper(Destination, Source, Size, Mode)  CopyToMode((Destination), (Source), (Size), (Mode))
#define NTMM_UMA_SIZE(One, Other)                                                                                              \
    (sizeof(*(One)) + 0 * sizeof(char[sizeof(*(One)) == sizeof(*(Other)) ? 1 : -1])) /* one type, as far as its size tells */
#define ReadStructFromUser(Destination, Source)                                                                                \
    ReadStructFromUserHelper((Destination), (Source), NTMM_UMA_SIZE(Destination, Source))
#define ReadStructFromMode(Destination, Source, Mode)                                                                          \
    ReadStructFromModeHelper((Destination), (Source), NTMM_UMA_SIZE(Destination, Source), (Mode))
#define WriteStructToUser(Destination, Source)                                                                                 \
    WriteStructToUserHelper((Destination), (Source), NTMM_UMA_SIZE(Destination, Source))
#define WriteStructToMode(Destination, Source, Mode)                                                                           \
    WriteStructToModeHelper((Destination), (Source), NTMM_UMA_SIZE(Destination, Source), (Mode))
#define ReadStructFromUserAligned(Destination, Source, Alignment)                                                              \
    (NtmmUmaCheck((Source), sizeof(*(Source)), (Alignment)), ReadStructFromUser(Destination, Source))
#define WriteStructToUserAligned(Destination, Source, Alignment)                                                               \
    (NtmmUmaCheck((Destination), sizeof(*(Destination)), (Alignment)), WriteStructToUser(Destination, Source))
#define ReadStructFromModeAligned(Destination, Source, Mode, Alignment)                                                        \
    ((Mode) != KernelMode ? NtmmUmaCheck((Source), sizeof(*(Source)), (Alignment)) : (VOID)0,                                  \
     ReadStructFromMode(Destination, Source, Mode))
#define WriteStructToModeAligned(Destination, Source, Mode, Alignment)                                                         \
    ((Mode) != KernelMode ? NtmmUmaCheck((Destination), sizeof(*(Destination)), (Alignment)) : (VOID)0,                        \
     WriteStructToMode(Destination, Source, Mode))

/* Of a UNICODE_STRING the structure alone: its Buffer is not looked at. */
#define NTMM_UMA_STRUCT(Name, Type)                                                                                            \
    NTMM_UMA Type Read##Name##FromMode(const volatile Type *Source, KPROCESSOR_MODE Mode)                                      \
    {                                                                                                                          \
        Type Value;                                                                                                            \
        CopyFromMode(&Value, Source, sizeof(Type), Mode);                                                                      \
        return Value;                                                                                                          \
    }                                                                                                                          \
    NTMM_UMA Type Read##Name##FromUser(const volatile Type *Source)                                                            \
    {                                                                                                                          \
        return Read##Name##FromMode(Source, UserMode);                                                                         \
    }                                                                                                                          \
    NTMM_UMA VOID Write##Name##ToMode(volatile Type *Destination, Type Value, KPROCESSOR_MODE Mode)                            \
    {                                                                                                                          \
        CopyToMode(Destination, &Value, sizeof(Type), Mode);                                                                   \
    }                                                                                                                          \
    NTMM_UMA VOID Write##Name##ToUser(volatile Type *Destination, Type Value)                                                  \
    {                                                                                                                          \
        Write##Name##ToMode(Destination, Value, UserMode);                                                                     \
    }
NTMM_UMA_STRUCT(LargeInteger, LARGE_INTEGER)
NTMM_UMA_STRUCT(ULargeInteger, ULARGE_INTEGER)
NTMM_UMA_STRUCT(UnicodeString, UNICODE_STRING)

/* ---- atomic operations ---- full barriers; the value before. The address is aligned to the value's size. It is read first, so that a page that
 * is not there raises at an ordinary access. Pages: InterlockedAndToUser and its kin */
#define NTMM_UMA_ATOMIC(Name, Type, Parameters, Operation)                                                                     \
    NTMM_UMA Type Name##ToMode(volatile Type *Destination, NTMM_UMA_LIST Parameters, KPROCESSOR_MODE Mode)                     \
    {                                                                                                                          \
        if (Mode != KernelMode) {                                                                                              \
            NtmmUmaCheck(Destination, sizeof(Type), sizeof(Type));                                                             \
            (VOID) * Destination;                                                                                              \
        }                                                                                                                      \
        return Operation;                                                                                                      \
    }
#define NTMM_UMA_LIST(...) __VA_ARGS__
NTMM_UMA_ATOMIC(InterlockedAnd, LONG, (LONG Value), InterlockedAnd(Destination, Value))
NTMM_UMA_ATOMIC(InterlockedOr, LONG, (LONG Value), InterlockedOr(Destination, Value))
NTMM_UMA_ATOMIC(InterlockedAnd64, LONG64, (LONG64 Value), InterlockedAnd64(Destination, Value))
NTMM_UMA_ATOMIC(InterlockedOr64, LONG64, (LONG64 Value), InterlockedOr64(Destination, Value))
NTMM_UMA_ATOMIC(InterlockedCompareExchange, LONG, (LONG ExChange, LONG Comperand),
                InterlockedCompareExchange(Destination, ExChange, Comperand))
NTMM_UMA_ATOMIC(InterlockedCompareExchange64, LONG64, (LONG64 ExChange, LONG64 Comperand),
                InterlockedCompareExchange64(Destination, ExChange, Comperand))
NTMM_UMA LONG InterlockedAndToUser(volatile LONG *Destination, LONG Value)
{
    return InterlockedAndToMode(Destination, Value, UserMode);
}
NTMM_UMA LONG InterlockedOrToUser(volatile LONG *Destination, LONG Value)
{
    return InterlockedOrToMode(Destination, Value, UserMode);
}
NTMM_UMA LONG64 InterlockedAnd64ToUser(volatile LONG64 *Destination, LONG64 Value)
{
    return InterlockedAnd64ToMode(Destination, Value, UserMode);
}
NTMM_UMA LONG64 InterlockedOr64ToUser(volatile LONG64 *Destination, LONG64 Value)
{
    return InterlockedOr64ToMode(Destination, Value, UserMode);
}
NTMM_UMA LONG InterlockedCompareExchangeToUser(volatile LONG *Destination, LONG ExChange, LONG Comperand)
{
    return InterlockedCompareExchangeToMode(Destination, ExChange, Comperand, UserMode);
}
NTMM_UMA LONG64 InterlockedCompareExchange64ToUser(volatile LONG64 *Destination, LONG64 ExChange, LONG64 Comperand)
{
    return InterlockedCompareExchange64ToMode(Destination, ExChange, Comperand, UserMode);
}

#endif
