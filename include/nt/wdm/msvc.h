/*
 * msvc.h - the words of Microsoft's compiler that ordinary driver source uses, for gcc and clang.
 *
 * __declspec(word) becomes the attribute of the same meaning, one word at a time; a word without meaning here
 * (dllimport, novtable, ...) becomes nothing. __int64 and the other sized integers, __forceinline, __noop,
 * __assume and __debugbreak follow.
 * __try and its kin are in seh.h. Where we differ: a plain `__inline` function without `static` follows C's
 * rule (no out-of-line copy) where Microsoft's compiler emits one. SPDX-License-Identifier: MIT
 */
#ifndef _NTMM_MSVC_
#define _NTMM_MSVC_

#define __declspec(word) NTMM_DECLSPEC_##word
#define _declspec(word) NTMM_DECLSPEC_##word
#define NTMM_DECLSPEC_align(n)  __attribute__((aligned(n)))
#define NTMM_DECLSPEC_noinline  __attribute__((noinline))
#define NTMM_DECLSPEC_noreturn  __attribute__((noreturn))
#define NTMM_DECLSPEC_nothrow   __attribute__((nothrow))
#define NTMM_DECLSPEC_selectany __attribute__((weak))
#define NTMM_DECLSPEC_thread    __thread
#define NTMM_DECLSPEC_naked     __attribute__((naked))
#define NTMM_DECLSPEC_restrict  __attribute__((malloc))
#define NTMM_DECLSPEC_dllexport __attribute__((visibility("default")))
#define NTMM_DECLSPEC_allocate(name)
#define NTMM_DECLSPEC_code_seg(name)
#define NTMM_DECLSPEC_dllimport
#define NTMM_DECLSPEC_noalias
#define NTMM_DECLSPEC_novtable
#define NTMM_DECLSPEC_safebuffers
#define NTMM_DECLSPEC_deprecated __attribute__((deprecated))
#define NTMM_DECLSPEC_guard(what)
#define NTMM_DECLSPEC_uuid(text)
#define NTMM_DECLSPEC_no_sanitize_address __attribute__((no_sanitize("address")))
#define DECLSPEC_SELECTANY                __attribute__((weak))
#define DECLSPEC_EXPORT                   __attribute__((visibility("default")))
#define DECLSPEC_NOTHROW                  __attribute__((nothrow))
#define DECLSPEC_NOVTABLE
#define DECLSPEC_UUID(text)
#define DECLSPEC_DEPRECATED
#define DECLSPEC_DEPRECATED_DDK
#define DECLSPEC_DEPRECATED_DDK_WINXP
#define DECLSPEC_ADDRSAFE
#define DECLSPEC_NOSANITIZEADDRESS __attribute__((no_sanitize("address")))
#define DECLSPEC_SAFEBUFFERS
#define DECLSPEC_RESTRICT
#define DECLSPEC_NOALIAS

/* clang knows the sized integers as keywords under -fms-extensions. */
#if !defined(__clang__)
#define __pragma(text)
#define __int8 char
#define __int16 short
#define __int32 int
#define __int64 long long
#define _int64 long long
#endif

#undef __forceinline
#define __forceinline inline __attribute__((always_inline))
#define _inline inline
#define __unaligned
#define __ptr64
#define __ptr32
#define __w64
#define _cdecl
#define _stdcall
#define __vectorcall
#define __clrcall
#define __noop(...) ((void)0)
#define __assume(expr)                                                                                                         \
    do {                                                                                                                       \
        if (!(expr))                                                                                                           \
            __builtin_unreachable();                                                                                           \
    } while (0)
#define __debugbreak()            __asm__ volatile("int3")
#define _ReturnAddress()          __builtin_return_address(0)
#define _AddressOfReturnAddress() ((PVOID)((PVOID *)__builtin_frame_address(0) + 1))
#define __annotation(...)
#define _countof(A)  (sizeof(A) / sizeof((A)[0]))
#define __TEXT(text) L##text
#define TEXT(text)   __TEXT(text)
#ifndef ALIGN_DOWN_BY
#define ALIGN_DOWN_BY(length, alignment)          ((ULONG_PTR)(length) & ~((ULONG_PTR)(alignment)-1))
#define ALIGN_UP_BY(length, alignment)            (ALIGN_DOWN_BY(((ULONG_PTR)(length) + (alignment)-1), alignment))
#define ALIGN_DOWN_POINTER_BY(address, alignment) ((PVOID)((ULONG_PTR)(address) & ~((ULONG_PTR)(alignment)-1)))
#define ALIGN_UP_POINTER_BY(address, alignment)   (ALIGN_DOWN_POINTER_BY(((ULONG_PTR)(address) + (alignment)-1), alignment))
#define ALIGN_DOWN(length, type)                  ALIGN_DOWN_BY(length, sizeof(type))
#define ALIGN_UP(length, type)                    ALIGN_UP_BY(length, sizeof(type))
#define ALIGN_DOWN_POINTER(address, type)         ALIGN_DOWN_POINTER_BY(address, sizeof(type))
#define ALIGN_UP_POINTER(address, type)           ALIGN_UP_POINTER_BY(address, sizeof(type))
#endif
#if !defined(__cplusplus) && !defined(NOMINMAX)
#ifndef min
#define min(a, b) (((a) < (b)) ? (a) : (b))
#endif
#ifndef max
#define max(a, b) (((a) > (b)) ? (a) : (b))
#endif
#endif
#ifdef __cplusplus
/* Macros of these names would break the standard library's headers. */
#ifndef NOMINMAX
template <typename A, typename B> constexpr auto min(A a, B b) -> decltype(true ? A() : B())
{
    return a < b ? a : b;
}
template <typename A, typename B> constexpr auto max(A a, B b) -> decltype(true ? A() : B())
{
    return a > b ? a : b;
}
#endif
#endif
#define ARGUMENT_PRESENT(ArgumentPointer) ((CHAR *)((ULONG_PTR)(ArgumentPointer)) != (CHAR *)(NULL))
#define BooleanFlagOn(F, SF)              ((BOOLEAN)(((F) & (SF)) != 0))
#define FlagOn(F, SF)                     ((F) & (SF))
#define SetFlag(F, SF)                    ((F) |= (SF))
#define ClearFlag(F, SF)                  ((F) &= ~(SF))
#define IS_ALIGNED(_pointer, _alignment)  ((((ULONG_PTR)(_pointer)) & ((_alignment)-1)) == 0)
#ifndef LOWORD
#define LOWORD(l)      ((USHORT)((ULONG_PTR)(l)&0xffff))
#define HIWORD(l)      ((USHORT)((((ULONG_PTR)(l)) >> 16) & 0xffff))
#define LOBYTE(w)      ((UCHAR)((ULONG_PTR)(w)&0xff))
#define HIBYTE(w)      ((UCHAR)((((ULONG_PTR)(w)) >> 8) & 0xff))
#define MAKEWORD(a, b) ((USHORT)(((UCHAR)((ULONG_PTR)(a)&0xff)) | ((USHORT)((UCHAR)((ULONG_PTR)(b)&0xff))) << 8))
#define MAKELONG(a, b) ((LONG)(((USHORT)((ULONG_PTR)(a)&0xffff)) | ((ULONG)((USHORT)((ULONG_PTR)(b)&0xffff))) << 16))
#endif
#define POINTER_ALIGNMENT    DECLSPEC_ALIGN(8)
#define PtrToUlong(p)        ((ULONG)(ULONG_PTR)(p))
#define PtrToLong(p)         ((LONG)(LONG_PTR)(p))
#define PtrToUint(p)         ((UINT)(UINT_PTR)(p))
#define PtrToInt(p)          ((INT)(INT_PTR)(p))
#define UlongToPtr(u)        ((PVOID)(ULONG_PTR)(ULONG)(u))
#define ULongToPtr(u)        UlongToPtr(u)
#define LongToPtr(l)         ((PVOID)(LONG_PTR)(LONG)(l))
#define UlongToHandle(u)     ((HANDLE)(ULONG_PTR)(ULONG)(u))
#define ULongToHandle(u)     UlongToHandle(u)
#define LongToHandle(l)      ((HANDLE)(LONG_PTR)(LONG)(l))
#define HandleToUlong(h)     ((ULONG)(ULONG_PTR)(h))
#define HandleToULong(h)     HandleToUlong(h)
#define HandleToLong(h)      ((LONG)(LONG_PTR)(h))
#define PtrToPtr64(p)        ((PVOID)(p))
#define Ptr64ToPtr(p)        ((PVOID)(p))
#define PtrToUlongPtr(p)     ((ULONG_PTR)(p))
#define Int32x32To64(a, b)   (((LONGLONG)((LONG)(a))) * ((LONGLONG)((LONG)(b))))
#define UInt32x32To64(a, b)  (((ULONGLONG)((ULONG)(a))) * ((ULONGLONG)((ULONG)(b))))
#define Int64ShllMod32(a, b) ((ULONGLONG)(a) << (b))
#define Int64ShraMod32(a, b) ((LONGLONG)(a) >> (b))
#define Int64ShrlMod32(a, b) ((ULONGLONG)(a) >> (b))

#endif
