/*
 * host.h - what the files of the host layer offer each other and the command. SPDX-License-Identifier: MIT
 */
#pragma once
#include "ke/ki.h"
#include "ntmm.h"

/* start.c */
/* Keeps the sentence for ntmm_error(); returns -1. */
int HostFail(const char *Format, ...) __attribute__((format(printf, 1, 2)));
/* The machine's memory of this run; NULL and 0 while the system does not run. */
const HAL_RUN *HostRuns(ULONG *Count);
/* options.c: a whole number, with an optional size suffix; FALSE for anything else. */
BOOLEAN HostParseNumber(const char *Text, BOOLEAN Suffix, uint64_t *Number);

/* verifier.c: -1, with a sentence, for a mask of which not every option is here. */
int HostCheckVerifier(uint32_t Mask);

/* text.c: text that grows in a buffer; Used counts what found no room too. */
typedef struct _HOST_TEXT {
    char *Bytes;
    size_t Size, Used;
} HOST_TEXT;
VOID HostPut(HOST_TEXT *Text, const char *Format, ...) __attribute__((format(printf, 2, 3)));
/* Head, then Words, in lines of at most Width columns; the lines that follow the first are indented. */
VOID HostPutWrapped(HOST_TEXT *Text, const char *Head, const char *Words, unsigned Indent, unsigned Width);

/* explain.c */
BOOLEAN HostIsAccess(uint32_t Code); /* the first parameter is the address that was read, written or run */
/* The structure or address that a stop is about, by its code and parameters; NULL: none is known, or it is not in pool. */
const void *HostObjectOf(uint32_t Code, const uint64_t *P);
/* Why a stop with these parameters (as many as are known) usually happens, and what to do; FALSE: nothing is known. */
BOOLEAN HostAdvise(uint32_t Code, const uint64_t *Parameters, unsigned Count, const char **Cause, const char **Cure);
struct json_t;
struct json_t *HostExplainJson(uint32_t Code, const uint64_t *Parameters, unsigned Count); /* the caller owns it */
const char *HostStatusName(uint32_t Status); /* NULL: not one of the common ones */
/* For an access violation that nobody handled: Kind is EXCEPTION_READ_FAULT and so on. */
VOID HostAccessWords(uint32_t Code, uint64_t Kind, uint64_t Address, char *Text, size_t Size);
VOID HostWords(uint32_t Code, const uint64_t *P, char *Text, size_t Size); /* one sentence */

/* landing.c */
ULONG_PTR HostLandingPad(ULONG_PTR Rip); /* KiLandingPadRoutine */

VOID HostAbandonStack(ULONG_PTR Stack); /* KiAbandonStackRoutine */
VOID HostWatchStacks(VOID);             /* sets KiMarkStackRoutine if a thread sanitizer is there */

/* symbols.c */
typedef struct _HOST_SYMBOL {
    char Module[96];
    char Function[160]; /* "": unknown */
    char File[320];     /* "": unknown */
    unsigned Line;
    ULONG64 Offset;  /* from the function's start; without a function, from the module's if it is a PE image */
    BOOLEAN Library; /* code of this library itself */
    BOOLEAN Header;  /* a function of the library's headers, compiled into a driver or program */
    BOOLEAN Foreign; /* code of a PE image */
    BOOLEAN Inlined; /* the next symbol is the function it was inlined into */
} HOST_SYMBOL;
/* Names for a code address, the innermost inlined function first; at least one. Exact: an instruction, else a return
 * address. Slow; uses the heap. */
ULONG HostSymbolize(ULONG_PTR Address, BOOLEAN Exact, HOST_SYMBOL *Out, ULONG Max);
/* Gives back what is cached. */
VOID HostForgetSymbols(VOID);
/* The program is the `ntmm` command: all of its own code is this library's, debug information or not. */
extern BOOLEAN HostIsWholeProgram;

/* picture.c: fills the picture of the block at (or around) Block: the stop's, or what a bad access used. Link: the list entry there to show,
 * or NULL. Any IRQL, no heap. */
VOID HostTakePicture(const KI_BUGCHECK *Stop, const VOID *Block, const ntmm_link *Link, ntmm_bugcheck *Out);
/* links.c: fills links, and words if they tell more than the code; the link to show a picture of, or NULL. Any IRQL, no heap. */
const ntmm_link *HostFindLinks(const KI_BUGCHECK *Stop, ntmm_bugcheck *Out);
/* instruction.c: the instruction at Rip in words; "": its bytes cannot be read. */
VOID HostDescribeInstruction(ULONG_PTR Rip, char *Text, size_t Size);
/* sanitize.c: before ExInitSystem: who else watches memory. The report looks at bytes that nobody should touch: it says so. */
VOID HostFindMemoryTool(VOID);
VOID HostQuietMemoryTool(BOOLEAN Quiet);
BOOLEAN HalpUnderValgrind(VOID); /* the machine's (hal/linux/trap.c); any time */

/* blame.c */
BOOLEAN HostIsDriverCode(ULONG_PTR Rip); /* KiIsDriverCodeRoutine */
PVOID HostImageOf(PVOID Address);        /* MiHostImageRoutine */

/* In a scope that calls a library of the host's: the memory sanitizer does not see what that writes, and what its calls of libc are
 * given is not looked at meanwhile. */
#ifdef KI_MSAN
void __msan_scoped_disable_interceptor_checks(void);
void __msan_scoped_enable_interceptor_checks(void);
static inline VOID HostWatchAgain(const char *Unused)
{
    UNREFERENCED_PARAMETER(Unused);
    __msan_scoped_enable_interceptor_checks();
}
#define HOST_UNWATCHED                                                                                                         \
    const char HostUnwatched __attribute__((cleanup(HostWatchAgain), unused)) = (__msan_scoped_disable_interceptor_checks(), 0)
#else
#define HOST_UNWATCHED ((VOID)0)
#endif

/* report.c */
/* Gets a stop that ends the process, when its report has been written: Json is its data form. */
extern VOID (*HostStopRoutine)(const ntmm_bugcheck *Stop, const char *Json);
/* Calls Routine(Context) on a stack of the host's, of a mebibyte; FALSE, and nothing was called: there is no memory for it. */
BOOLEAN HostCallOnOwnStack(VOID (*Routine)(PVOID Context), PVOID Context);
VOID HostReport(const KI_BUGCHECK *Stop); /* KiReportRoutine */
VOID HostReportLeft(VOID);                /* before the system stops: pool that drivers left, with pool tracking */
/* "Function (file.c:12)", "Function+0x10", or "+0x10" where no function is known. */
VOID HostFormatPlace(const HOST_SYMBOL *Symbol, char *Text, size_t Size);
struct json_t *HostStopJson(const ntmm_bugcheck *Stop); /* the caller owns it */
/* Fills the data form: name, words, blame and stack; looks nothing up by symbol but driver and where. */
VOID HostDescribeStop(const KI_BUGCHECK *Stop, ntmm_bugcheck *Out);

/* ioctl.c, load.c */
struct ntmm_driver {
    struct _DRIVER_OBJECT *Object;
    struct _LDR_IMAGE *Image; /* NULL: part of the program */
};
VOID HostUnloadImage(struct ntmm_driver *Driver); /* after its driver object is gone */
