/*
 * explain.c - what bug checks mean, in words. SPDX-License-Identifier: MIT
 *
 * Two tables: bugchecks.def has, for each code, what each value of its selecting parameter says and what the parameters
 * are; General has, for the codes that memory errors end in, why it happens and what to do about it. The report and
 * `ntmm explain` read the same tables.
 *
 * A row is chosen by the parameter that selects (the first one mostly); if that is unknown or matches no row, by the row
 * that holds for any; if there is none and no parameter is given, all rows are listed.
 */
#include "host.h"

#include <stdio.h>
#include <string.h>

#define SELECT_NEAR_ZERO 5 /* the first parameter is an address below the row's value */

static const struct {
    uint32_t Code;
    unsigned Selector;
    uint64_t Value;
    const char *Parameters[4], *What;
} Rows[] = {
#define BUGCHECK(code, selector, value, p1, p2, p3, p4, what) {code, selector, value, {p1, p2, p3, p4}, what},
#include "bugchecks.def"
#undef BUGCHECK
};

static const struct {
    uint32_t Code;
    const char *Why, *Cure;
} General[] = {
    {0x0A,
     "Code at DISPATCH_LEVEL or above may touch resident memory only: a page fault there cannot wait for the disk, so the "
     "system "
     "stops even if the page could have been brought in. Often the pointer is stale or NULL.",
     "Look at the instruction and at the address: allocate the memory nonpaged, lock it with an MDL, or touch it before the "
     "IRQL is raised. A near-zero address is a member of a structure whose pointer is NULL."},
    {0xD1,
     "As 0x0A, in a driver's code: pageable or invalid memory was touched at DISPATCH_LEVEL or above, or the driver's own "
     "pageable "
     "code ran there.",
     "Allocate the memory nonpaged, or do the work at PASSIVE_LEVEL; take #pragma alloc_text(PAGE, ...) off functions that run "
     "under spin locks or in DPCs; keep MmProbeAndLockPages until the transfer is done."},
    {0x50,
     "The address is in the kernel's range and no memory is there: never mapped, or freed. An exception handler cannot catch "
     "this.",
     "Find who freed the memory (the report names the pool block if it was one), or where the pointer was computed."},
    {0x1E, "An exception was raised and no __except around it took it.",
     "Guard what may fault (user buffers, ProbeForRead, allocations that raise) with __try/__except, or make it not fault."},
    {0x7E, "A thread that a driver made (PsCreateSystemThread, a work item) let an exception through.",
     "Handle the exception in the thread's routine, or mend what raised it."},
    {0x3B, "An exception came out of a driver's dispatch routine while it served a request of user mode.",
     "Validate and probe what the request passes, under __try/__except; check buffer lengths before use."},
    {0xC2, "A pool function was called with something it must not be called with.",
     "The block's history is in the report: free each block once, with its own tag and its exact start, at an allowed IRQL."},
    {0xC5, "The pool's own code faulted at raised IRQL: its memory was overwritten, or the caller is at too high an IRQL.",
     "Use the Verifier's special pool or an ASan build to find the write."},
    {0x19, "Bytes around a pool block are not what they were: something wrote past its end or before its start.",
     "The block that was overrun is usually the one before; its tag names the owner. Special pool stops at the write itself."},
    {0x1A, "The memory manager found its state contradicted by a call or by memory.",
     "The first parameter tells what; look at the call in the stack."},
    {0xBE, "The page is mapped read only: code, constants, or a mapping that asked for it.",
     "Do not write there: copy it, or map it writable. String literals and const data are read only."},
    {0xFC, "The page is not executable: nonpaged pool of type NonPagedPoolNx, a stack, data of an image.",
     "A function pointer is wrong, or code was generated into data: allocate it as NonPagedPoolExecute."},
    {0x139, "A check that protects a structure failed and called __fastfail; it cannot be handled.",
     "For a list entry: it was removed twice, inserted twice, or freed while in a list. For a cookie: a local array was "
     "overrun."},
    {0xC4, "The Driver Verifier found a rule broken.", "The first parameter names the rule."},
    {0xC1, "Special pool puts each block in a page of its own: the bytes around it were changed, or it was freed wrongly.",
     "Compare the address with the block's end: what lies beyond is the overrun."},
    {0xC6, "A driver freed memory that is still in use elsewhere.", "See who allocated it in the report."},
    {0xCC, "A block of special pool was used after it was freed.", "The report has the stack that freed it."},
    {0xCD, "A block of special pool was read or written beyond its end.", "Check the length at the instruction named."},
    {0xD5, "Memory of special pool was used after it was freed.", "The report has the stack that freed it."},
    {0xD6, "Memory beyond the end of a special pool block was used.", "Check the length at the instruction named."},
    {0x76, "Pages of a process were still locked when it ended, or unlocked too often.",
     "Pair each MmProbeAndLockPages with one MmUnlockPages on the same MDL."},
    {0x4E, "A page's counts went below zero or its list is damaged.", "Look for an MDL unlocked or freed twice."},
    {0xDA, "A mapping was used or given back in a way that does not match how it was made.",
     "Unmap with the address and the size it was mapped with, once."},
    {0x7F, "The processor met a condition it cannot go on from; 8 is a stack that ran over its end.",
     "For 8: shorten the recursion or the local arrays; a kernel stack is a few pages."},
    {0xE2, "Somebody asked for it.", "Nothing is wrong by itself."},
    {0x05, "A thread was attached to a process while it is attached to another by the form that does not stack, or in a DPC.",
     "Use KeStackAttachProcess and KeUnstackDetachProcess in pairs, below DISPATCH_LEVEL."},
    {0x18, "An object was given back more often than it was taken: a pointer was dereferenced twice, or never referenced.",
     "Pair each ObReferenceObject... with one ObDereferenceObject; a handle does not keep a pointer valid."},
    {0x3F, "All address space for system mappings is in use, mostly because mappings are made and not given back.",
     "Unmap each MDL and each I/O range when the transfer is done; the report lists who holds the most."},
    {0x44, "The same packet was completed twice: by two of its drivers, or by a cancel routine and its completion.",
     "Complete each packet once; clear the cancel routine with IoSetCancelRoutine and look at what it returns."},
    {0x77, "A kernel stack could not be read back from the page file.",
     "The device under the page file fails, or failed in a test."},
    {0x7A, "Paged memory could not be read back: the device reported an error, or what it gave is not what was written.",
     "Nothing in the driver: look at the device; a test of failing devices ends here where nobody can handle the exception."},
    {0x13A, "Memory of a heap was used after it was freed, or overrun.",
     "As for pool: find the write by special pool or an ASan build."},
    {0xC7, "Memory was freed that still holds a timer that is set or a DPC that is queued.",
     "Cancel the timer and flush the DPCs (KeCancelTimer, KeFlushQueuedDpcs) before the memory that holds them goes."},
    {0xC9, "A driver broke a rule of the I/O manager.", "The first parameter names the rule."},
    {0xCB, "A driver or its process ended with pages still locked by an MDL.",
     "Unlock in the completion and in every error path; the report names who locked them."},
    {0xCE, "A driver was unloaded while work of it was still to be done: a timer, a work item, a thread, a DPC.",
     "Wait for all of it in DriverUnload before returning."},
    {0xCF, "A session's driver was unloaded while it was still called.", "Wait for what is outstanding before the unload."},
    {0xD0, "A lock or a list in memory that may be paged, or that was overwritten, was used at raised IRQL.",
     "Look for an overrun next to the structure; special pool stops at the write."},
    {0xD3, "A driver marked its code pageable and ran it at DISPATCH_LEVEL or above.",
     "Lock the section first, or take the function out of it."},
    {0xD4, "Code of a driver that was unloaded was to be run: a callback, DPC or work item had been left behind.",
     "Take back every registration and wait for what runs in DriverUnload."},
    {0xD8, "One driver holds most of the address space for system mappings.",
     "The report lists the holders: unmap what is done with, or map less at a time."},
    {0xE6, "A device or its driver used DMA memory that was not mapped for it, or against the rules of the DMA routines.",
     "Map each transfer, flush it, and give the map registers back once; do not compute physical addresses by hand."},
    {0x101, "A processor did not answer in time.", "Look for code that spins at raised IRQL."},
};

BOOLEAN HostWhy(uint32_t Code, const char **Why, const char **Cure)
{
    for (size_t I = 0; I < ARRAYSIZE(General); I++)
        if (General[I].Code == Code) {
            *Why = General[I].Why;
            *Cure = General[I].Cure;
            return TRUE;
        }
    return FALSE;
}

static const struct {
    uint32_t Status;
    const char *Name;
} Statuses[] = {
    {0x80000001, "STATUS_GUARD_PAGE_VIOLATION"},
    {0x80000002, "STATUS_DATATYPE_MISALIGNMENT"},
    {0x80000003, "STATUS_BREAKPOINT"},
    {0x80000004, "STATUS_SINGLE_STEP"},
    {0xC0000001, "STATUS_UNSUCCESSFUL"},
    {0xC0000005, "STATUS_ACCESS_VIOLATION"},
    {0xC0000006, "STATUS_IN_PAGE_ERROR"},
    {0xC000000D, "STATUS_INVALID_PARAMETER"},
    {0xC0000017, "STATUS_NO_MEMORY"},
    {0xC000001D, "STATUS_ILLEGAL_INSTRUCTION"},
    {0xC0000022, "STATUS_ACCESS_DENIED"},
    {0xC0000025, "STATUS_NONCONTINUABLE_EXCEPTION"},
    {0xC0000044, "STATUS_QUOTA_EXCEEDED"},
    {0xC000008C, "STATUS_ARRAY_BOUNDS_EXCEEDED"},
    {0xC0000090, "STATUS_FLOAT_INVALID_OPERATION"},
    {0xC0000094, "STATUS_INTEGER_DIVIDE_BY_ZERO"},
    {0xC0000095, "STATUS_INTEGER_OVERFLOW"},
    {0xC0000096, "STATUS_PRIVILEGED_INSTRUCTION"},
    {0xC000009A, "STATUS_INSUFFICIENT_RESOURCES"},
    {0xC00000A1, "STATUS_WORKING_SET_QUOTA"},
    {0xC0000409, "STATUS_STACK_BUFFER_OVERRUN"},
    {0xC0000420, "STATUS_ASSERTION_FAILURE"},
};

const char *HostStatusName(uint32_t Status)
{
    for (size_t I = 0; I < ARRAYSIZE(Statuses); I++)
        if (Statuses[I].Status == Status)
            return Statuses[I].Name;
    return NULL;
}

/* Finds the row for the parameters that are known; -1: none. */
static int FindRow(uint32_t Code, const uint64_t *Parameters, unsigned Count)
{
    int Any = -1;
    for (size_t I = 0; I < ARRAYSIZE(Rows); I++) {
        if (Rows[I].Code != Code)
            continue;
        if (Rows[I].Selector >= 1 && Rows[I].Selector <= 4) {
            if (Rows[I].Selector <= Count && Parameters[Rows[I].Selector - 1] == Rows[I].Value)
                return (int)I;
        } else if (Rows[I].Selector == SELECT_NEAR_ZERO) {
            if (Count >= 1 && Parameters[0] < Rows[I].Value)
                return (int)I;
        } else if (Any < 0) {
            Any = (int)I;
        }
    }
    return Any;
}

/* One sentence: what the code did wrong. */
VOID HostWords(uint32_t Code, const uint64_t *P, char *Text, size_t Size)
{
    int Row = FindRow(Code, P, 4);
    const char *Status, *Kind;
    switch (Code) {
    case 0x1E:
    case 0x7E:
    case 0x3B:
        Status = HostStatusName((uint32_t)P[0]);
        if (Code == 0x1E && P[0] == 0xC0000005) {
            Kind = P[2] == 1 ? "write to" : P[2] == 8 ? "jump to" : "read of";
            if (P[3] == ~0ull)
                snprintf(Text, Size, "An access violation that nothing handled: a use of an address that is not canonical.");
            else
                snprintf(Text, Size, "An access violation that nothing handled: a %s address 0x%016llX%s.", Kind,
                         (unsigned long long)P[3], P[3] < 0x1000 ? " (a NULL pointer)" : "");
            return;
        }
        snprintf(Text, Size, "An exception that nothing handled%s: %s (0x%08X).",
                 Code == 0x7E   ? ", in a system thread"
                 : Code == 0x3B ? ", while a request of user mode was served"
                                : "",
                 Status ? Status : "status", (unsigned)P[0]);
        return;
    case 0x0A:
    case 0xD1:
        Kind = P[2] & 8 ? "jump to" : P[2] & 1 ? "write to" : "read of";
        snprintf(Text, Size, "A %s address 0x%016llX at IRQL %u: %s.", Kind, (unsigned long long)P[0], (unsigned)P[1],
                 P[0] < 0x1000 ? "a NULL pointer was used"
                 : P[2] & 8    ? "pageable code, or none, at DISPATCH_LEVEL or above"
                               : "pageable or invalid memory was touched at DISPATCH_LEVEL or above");
        return;
    case 0x50:
        Kind = P[1] & 0x10 ? "jump to" : P[1] & 2 ? "write to" : "read of";
        snprintf(Text, Size, "A %s address 0x%016llX: %s.", Kind, (unsigned long long)P[0],
                 Row >= 0 ? Rows[Row].What : "there is no memory there");
        return;
    case 0xBE:
    case 0xFC:
        snprintf(Text, Size, "A %s address 0x%016llX: %s.", Code == 0xBE ? "write to" : "jump to", (unsigned long long)P[0],
                 Code == 0xBE ? "the page is read only" : "the page is data, not code");
        return;
    default:
        if (Row >= 0)
            snprintf(Text, Size, "%s.", Rows[Row].What);
        else if (KiBugCheckName(Code))
            snprintf(Text, Size, "The parameters are not ones that the documents name.");
        else
            snprintf(Text, Size, "A driver stopped the system with a code of its own.");
    }
}

static VOID Add(char *Text, size_t Size, size_t *Used, const char *Format, ...) __attribute__((format(printf, 4, 5)));
static VOID Add(char *Text, size_t Size, size_t *Used, const char *Format, ...)
{
    va_list List;
    int Length;
    va_start(List, Format);
    Length = vsnprintf(*Used < Size ? Text + *Used : NULL, *Used < Size ? Size - *Used : 0, Format, List);
    va_end(List);
    if (Length > 0)
        *Used += (size_t)Length;
}

/* A paragraph, wrapped at 96 columns, each line after Indent. */
static VOID AddWrapped(char *Text, size_t Size, size_t *Used, const char *Head, const char *Words)
{
    size_t Column = strlen(Head);
    Add(Text, Size, Used, "%s", Head);
    while (*Words) {
        size_t Length = strcspn(Words, " ");
        if (Column + 1 + Length > 96) {
            Add(Text, Size, Used, "\n   ");
            Column = 3;
        }
        Add(Text, Size, Used, " %.*s", (int)Length, Words);
        Column += 1 + Length;
        Words += Length;
        while (*Words == ' ')
            Words++;
    }
    Add(Text, Size, Used, "\n");
}

size_t ntmm_explain(uint32_t code, const uint64_t *parameters, unsigned count, char *text, size_t size)
{
    size_t Used = 0;
    const char *Name = KiBugCheckName(code);
    int Row;
    BOOLEAN Known = FALSE;

    if (size)
        text[0] = 0;
    for (size_t I = 0; I < ARRAYSIZE(Rows); I++)
        Known |= Rows[I].Code == code;
    if (!Name && !Known)
        return 0;
    if (count > 4)
        count = 4;
    Add(text, size, &Used, "0x%08X %s\n", code, Name ? Name : "");
    Row = FindRow(code, parameters, count);
    if (Row >= 0) {
        AddWrapped(text, size, &Used, " ", Rows[Row].What);
        for (unsigned I = 0; I < 4; I++) {
            const char *Meaning = Rows[Row].Parameters[I];
            if (I < count)
                Add(text, size, &Used, "  parameter %u  0x%016llX  %s\n", I + 1, (unsigned long long)parameters[I], Meaning);
            else if (*Meaning)
                Add(text, size, &Used, "  parameter %u  %s\n", I + 1, Meaning);
        }
    } else if (Known) {
        Add(text, size, &Used,
            count ? "  These parameters are not ones that the documents name. Known are:\n" : "  The parameters tell which:\n");
        for (size_t I = 0; I < ARRAYSIZE(Rows); I++)
            if (Rows[I].Code == code) {
                char Head[40];
                snprintf(Head, sizeof Head, "  %s%llX:", Rows[I].Selector == 4 ? "parameter 4 0x" : "0x",
                         (unsigned long long)Rows[I].Value);
                AddWrapped(text, size, &Used, Head, Rows[I].What);
            }
    }
    const char *Why, *Cure;
    if (HostWhy(code, &Why, &Cure)) {
        AddWrapped(text, size, &Used, "Why:", Why);
        AddWrapped(text, size, &Used, "Cure:", Cure);
    }
    return Used;
}
