/*
 * landing.c - the compiler's landing pads: where code goes when an instruction of it raises an exception.
 * SPDX-License-Identifier: MIT
 *
 * Functions built with -fexceptions describe, in their language-specific data area, for each range of instructions the
 * landing pad of its cleanups. The dispatcher (ke/exception.c) enters a __try through the pad of the faulting
 * instruction, because only there the compiler has put the function's locals where they are expected.
 *
 * The area: a byte for the encoding of the pads' base (0xFF: the function's start), a byte for the type table's encoding
 * and its offset if it has one, a byte for the call sites' encoding, the length of their table, and the call sites, sorted:
 *
 *     { start, length, landing pad (0: none), action }  relative to the function's start, or its base
 */
#include "host.h"

#define UNW_LOCAL_ONLY
#include <libunwind.h>
#include <setjmp.h>
#include <string.h>

static uint64_t Uleb(const UCHAR **At)
{
    uint64_t Value = 0;
    for (unsigned Shift = 0;; Shift += 7) {
        UCHAR Byte = *(*At)++;
        if (Shift < 64)
            Value |= (uint64_t)(Byte & 0x7f) << Shift;
        if (!(Byte & 0x80))
            return Value;
    }
}

/* The low four bits of a DW_EH_PE encoding that gcc and clang use for call sites; FALSE for any other. */
static BOOLEAN Value(UCHAR Encoding, const UCHAR **At, uint64_t *Out)
{
    switch (Encoding & 0x0f) {
    case 0x01:
        *Out = Uleb(At);
        return TRUE;
    case 0x03: {
        uint32_t Word;
        memcpy(&Word, *At, 4);
        *At += 4;
        *Out = Word;
        return TRUE;
    }
    case 0x04:
        memcpy(Out, *At, 8);
        *At += 8;
        return TRUE;
    default:
        return FALSE;
    }
}

ULONG_PTR HostLandingPad(ULONG_PTR Rip)
{
    unw_proc_info_t Info;
    const UCHAR *At, *End;
    UCHAR Encoding;
    uint64_t Start, Length, Pad;

    if (unw_get_proc_info_by_ip(unw_local_addr_space, Rip, &Info, NULL) < 0 || !Info.lsda)
        return 0;
    At = (const UCHAR *)Info.lsda;
    if (*At++ != 0xff)
        return 0; /* pads based elsewhere: not what C compilers emit */
    Encoding = *At++;
    if (Encoding != 0xff)
        Uleb(&At);
    Encoding = *At++;
    End = At;
    Length = Uleb(&End);
    At = End;
    End += Length;
    while (At < End) {
        if (!Value(Encoding, &At, &Start) || !Value(Encoding, &At, &Length) || !Value(Encoding, &At, &Pad))
            return 0;
        Uleb(&At);
        if (Rip < Info.start_ip + Start)
            return 0;
        if (Rip < Info.start_ip + Start + Length)
            return Pad ? Info.start_ip + Pad : 0;
    }
    return 0;
}

/* An address sanitizer in the program, whether this library is built with it or not: the frames that are skipped never
 * return, so nobody takes their red zones off the stack. */
#define EMERGENCY_BYTES (64u << 10) /* what may be in use of it */
extern void __asan_unpoison_memory_region(const volatile void *, size_t) __attribute__((weak));

__attribute__((no_sanitize("address"))) VOID HostAbandonStack(ULONG_PTR Stack)
{
    ULONG_PTR Here = (ULONG_PTR)__builtin_frame_address(0), Low, High;
    if (!__asan_unpoison_memory_region)
        return;
    /* After a stack overflow this runs on an emergency stack, whose frames are given up too, and with them the whole of the
     * thread's own stack below. */
    HalQueryStack(&Low, &High);
    if (Here < Low || Here >= High) {
        __asan_unpoison_memory_region((const volatile void *)Here, EMERGENCY_BYTES);
        Here = Low;
    }
    if (Here < Stack && Stack <= High)
        __asan_unpoison_memory_region((const volatile void *)Here, Stack - Here);
}

/* A thread sanitizer counts calls and returns; a jump over frames leaves it counting too many, until its stack is full. It
 * knows setjmp and longjmp, so these take it back: a mark is a setjmp in a function that has returned since, and the way back a
 * longjmp into that dead frame, from where nothing is read but a thread's variable before control goes on to the living one. */
extern void __tsan_acquire(void *) __attribute__((weak));
static _Thread_local struct {
    VOID (*Go)(PVOID);
    PVOID Argument;
} Way;

C_ASSERT(sizeof(jmp_buf) <= 32 * sizeof(PVOID));
static KI_NO_TSAN __attribute__((noinline, no_sanitize("address"))) VOID MarkStack(PVOID *Mark)
{
    if (_setjmp(*(jmp_buf *)Mark) != 0) {
        Way.Go(Way.Argument);
        __builtin_unreachable();
    }
}

static KI_NO_TSAN VOID ReturnToMark(PVOID *Mark, VOID (*Go)(PVOID), PVOID Argument)
{
    Way.Go = Go;
    Way.Argument = Argument;
    longjmp(*(jmp_buf *)Mark, 1);
}

VOID HostWatchStacks(VOID)
{
    if (!__tsan_acquire)
        return;
    KiReturnToMarkRoutine = ReturnToMark;
    KiMarkStackRoutine = MarkStack;
}
