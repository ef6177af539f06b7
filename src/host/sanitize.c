/*
 * sanitize.c - tells memory checkers what the pools' bytes are: valgrind, and sanitizers that the program was built with.
 * SPDX-License-Identifier: MIT
 *
 * Built with the address sanitizer itself (the presets asan and asan-clang), the pools poison their memory without this file. Here
 * is the case that a plain build of the library meets a checker at run time:
 *
 *   valgrind           a block is MALLOCLIKE (so its report names who allocated and freed it), the rest is NOACCESS
 *   address sanitizer  slack and freed blocks are poisoned: its report stops at the line that touches them
 *   thread sanitizer   a block's free happens before its next allocation. It knows nothing of the locks of a library that was not built
 *                      for it: use the library of the preset tsan
 *
 *   memory sanitizer   the library is built with it (preset msan), and is told here of blocks that nobody has written yet or that
 *                      were freed; the rest of the core says by KiMarkWritten and KiMarkUnwritten (ke/ki.h) what instrumentation
 *                      cannot see
 *
 * And, in every build: when the address sanitizer reports an error in pool memory, the stop that the Verifier's special pool would make
 * of it is printed behind its report, with the block's history: 0xD6 beyond a block, 0xD5 in a freed one, or in an entry that is
 * free in a lookaside list.
 *
 * The checkers' entry points are weak: which of them is there is known when the program is linked or loaded.
 */
#include "ex/exp.h"
#include "host.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#if __has_include(<valgrind/memcheck.h>)
#include <valgrind/memcheck.h>
#define HAVE_VALGRIND 1
#endif

#define WEAK __attribute__((weak))
VOID __asan_poison_memory_region(const volatile VOID *Address, SIZE_T Bytes) WEAK;
VOID __asan_unpoison_memory_region(const volatile VOID *Address, SIZE_T Bytes) WEAK;
VOID __asan_set_error_report_callback(VOID (*Routine)(const char *)) WEAK;
PVOID __asan_get_report_address(VOID) WEAK;
PVOID __asan_get_report_pc(VOID) WEAK;
int __asan_get_report_access_type(VOID) WEAK;
VOID __tsan_acquire(PVOID Address) WEAK;
VOID __tsan_release(PVOID Address) WEAK;

/* ---- valgrind ---- */
#ifdef HAVE_VALGRIND
static VOID ValgrindHide(PVOID Address, SIZE_T Bytes)
{
    (void)VALGRIND_MAKE_MEM_NOACCESS(Address, Bytes);
}
static VOID ValgrindShow(PVOID Address, SIZE_T Bytes)
{
    (void)VALGRIND_MAKE_MEM_DEFINED(Address, Bytes);
}
static VOID ValgrindAllocated(PVOID Block, SIZE_T Size, BOOLEAN Zeroed)
{
    VALGRIND_MALLOCLIKE_BLOCK(Block, Size, 0, Zeroed);
}
static VOID ValgrindFreed(PVOID Block, SIZE_T Room)
{
    UNREFERENCED_PARAMETER(Room);
    VALGRIND_FREELIKE_BLOCK(Block, 0);
}
static const EXP_MEMORY_TOOL Valgrind = {ValgrindHide, ValgrindShow, ValgrindAllocated, ValgrindFreed};
#endif

VOID HostQuietMemoryTool(BOOLEAN Quiet)
{
#ifdef HAVE_VALGRIND
    if (Quiet) {
        VALGRIND_DISABLE_ERROR_REPORTING;
    } else {
        VALGRIND_ENABLE_ERROR_REPORTING;
    }
#else
    UNREFERENCED_PARAMETER(Quiet);
#endif
}

/* ---- the address sanitizer ---- */
static VOID AddressHide(PVOID Address, SIZE_T Bytes)
{
    __asan_poison_memory_region(Address, Bytes);
}
static VOID AddressShow(PVOID Address, SIZE_T Bytes)
{
    __asan_unpoison_memory_region(Address, Bytes);
}
static const EXP_MEMORY_TOOL AddressSanitizer = {AddressHide, AddressShow, NULL, NULL};

/* After the sanitizer's own report, before it ends the process. */
static VOID TellStop(const char *Report)
{
    EXP_BLOCK_INFO Info;
    PVOID Address = __asan_get_report_address();
    (void)Report;
    if (!ntmm_running() || !ExpDescribeBlock(Address, &Info) || Info.State == ExpBlockNever || Info.State == ExpBlockNone)
        return;
    ULONG_PTR Rip = __asan_get_report_pc != NULL ? (ULONG_PTR)__asan_get_report_pc() : 0;
    BOOLEAN Entry = Info.State != ExpBlockFreed && (ULONG_PTR)Address - (ULONG_PTR)Info.Start < Info.Size;
    BOOLEAN Freed = Info.State == ExpBlockFreed || Entry;
    KI_BUGCHECK Stop = {.Code = Freed ? 0xD5 : 0xD6,
                        .Parameters = {(ULONG_PTR)Address,
                                       __asan_get_report_access_type != NULL && __asan_get_report_access_type() != 0 ? 1 : 0,
                                       Rip, 0},
                        .Words = Entry   ? "An entry that is free in a lookaside list was used; the address sanitizer found it."
                                 : Freed ? "A pool block was used after it had been freed; the address sanitizer found it."
                                         : "Memory beyond a pool block was used; the address sanitizer found it.",
                        .Block = Address,
                        .Irql = KeGetCurrentIrql(),
                        .Thread = HalCurrentThread()};
    Stop.FrameCount = HalCaptureStack(NULL, Stop.Frames, KI_STOP_FRAMES, 0);
    HostReport(&Stop);
}

/* ---- the thread sanitizer ---- */
static VOID Nothing(PVOID Address, SIZE_T Bytes)
{
    UNREFERENCED_PARAMETER(Address);
    UNREFERENCED_PARAMETER(Bytes);
}
static VOID ThreadAllocated(PVOID Block, SIZE_T Size, BOOLEAN Zeroed)
{
    UNREFERENCED_PARAMETER(Size);
    UNREFERENCED_PARAMETER(Zeroed);
    __tsan_acquire(Block);
}
static VOID ThreadFreed(PVOID Block, SIZE_T Room)
{
    UNREFERENCED_PARAMETER(Room);
    __tsan_release(Block);
}
static const EXP_MEMORY_TOOL ThreadSanitizer = {Nothing, Nothing, ThreadAllocated, ThreadFreed};

/* ---- the memory sanitizer ---- */
#ifdef KI_MSAN
VOID __msan_poison(const volatile VOID *Address, SIZE_T Bytes);
static VOID MemoryHide(PVOID Address, SIZE_T Bytes)
{
    __msan_poison(Address, Bytes);
}
static VOID MemoryShow(PVOID Address, SIZE_T Bytes)
{
    __msan_unpoison(Address, Bytes);
}
static VOID MemoryAllocated(PVOID Block, SIZE_T Size, BOOLEAN Zeroed)
{
    if (Zeroed)
        __msan_unpoison(Block, Size);
    else
        __msan_allocated_memory(Block, Size);
}
/* The origin becomes this stack: who freed it. */
static VOID MemoryFreed(PVOID Block, SIZE_T Room)
{
    __msan_allocated_memory(Block, Room);
}
static const EXP_MEMORY_TOOL MemorySanitizer = {MemoryHide, MemoryShow, MemoryAllocated, MemoryFreed};
#endif

/* Clang's runtime starts its symbolizer as a child, at the first report. A child of a thread on a kernel stack runs on its parent's
 * very pages, as simulated memory is shared with children, and both are lost: it is started here, before there is such a thread. */
#if defined(__clang__) && (defined(KI_TSAN) || defined(KI_MSAN))
VOID __sanitizer_symbolize_pc(PVOID Pc, const char *Format, char *Out, SIZE_T Bytes);
static VOID StartSymbolizer(VOID)
{
    static LONG Started;
    char Name[64];
    if (__atomic_exchange_n(&Started, 1, __ATOMIC_RELAXED) == 0)
        __sanitizer_symbolize_pc((PVOID)(ULONG_PTR)&snprintf, "%f", Name, sizeof Name);
}
#else
static VOID StartSymbolizer(VOID)
{
}
#endif

VOID HostFindMemoryTool(VOID)
{
    StartSymbolizer();
    if (__asan_set_error_report_callback != NULL && __asan_get_report_address != NULL)
        __asan_set_error_report_callback(TellStop);
#if !NTMM_SANITIZED
#ifdef HAVE_VALGRIND
    if (RUNNING_ON_VALGRIND) {
        ExpMemoryTool = &Valgrind;
        return;
    }
#endif
    ExpMemoryTool = __asan_poison_memory_region != NULL ? &AddressSanitizer : __tsan_acquire != NULL ? &ThreadSanitizer : NULL;
#else
#ifdef KI_MSAN
    ExpMemoryTool = &MemorySanitizer;
#endif
    (void)AddressSanitizer;
    (void)ThreadSanitizer;
#ifdef HAVE_VALGRIND
    (void)Valgrind;
#endif
#endif
}
