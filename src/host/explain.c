/*
 * explain.c - what bug checks mean, in words. SPDX-License-Identifier: MIT
 *
 * Two tables: bugchecks.def has, for each code, what each value of its selecting parameter says and what the parameters
 * are; advice.def has, for each code and for each value that a driver can bring about, why it usually happens and what to
 * do about it. The report and `ntmm explain` read the same tables.
 *
 * A row is chosen by the parameter that selects (the first one mostly); if that is unknown or matches no row, by the row
 * that holds for any; if there is none, the rows are listed that the missing parameters could choose, or else all.
 *
 * Watch it: tests/unit/explain_test.c.
 */
#include "ex/ex.h"
#include "host.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

#define EXPLAIN_WIDTH 96
/* What chooses a row: 1 to 4 are the parameters. */
#define SELECT_ALWAYS   0
#define SELECT_BELOW    5  /* parameter 1 is below the value */
#define SELECT_LOW_BYTE 6  /* the low byte of parameter 1 */
#define SELECT_PAIR     12 /* parameters 1 and 2 */
#define PAIR(p1, p2)    ((uint64_t)(p1) << 32 | (p2))

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
    unsigned Selector;
    uint64_t First, Last;
    const char *Cause, *Cure;
} Advice[] = {
#define ADVICE(code, selector, first, last, cause, cure) {code, selector, first, last, cause, cure},
#include "advice.def"
#undef ADVICE
};

/* How the known parameters stand to a row. */
typedef enum { No, Maybe, Always, Yes } FIT;

/* Whether the value that Selector picks lies between First and Last; Maybe: parameters are missing that would tell. */
static FIT Fit(unsigned Selector, uint64_t First, uint64_t Last, const uint64_t *Parameters, unsigned Count)
{
    uint64_t Value;
    switch (Selector) {
    case SELECT_ALWAYS:
        return Always;
    case SELECT_BELOW:
        if (Count == 0)
            return Maybe;
        return Parameters[0] < First ? Yes : No;
    case SELECT_LOW_BYTE:
        if (Count == 0)
            return Maybe;
        Value = Parameters[0] & 0xFF;
        break;
    case SELECT_PAIR:
        if (Count < 2)
            return Count == 0 || Parameters[0] == First >> 32 ? Maybe : No;
        if (Parameters[0] > MAXULONG || Parameters[1] > MAXULONG)
            return No;
        Value = PAIR(Parameters[0], Parameters[1]);
        break;
    default:
        if (Count < Selector)
            return Maybe;
        Value = Parameters[Selector - 1];
    }
    return Value >= First && Value <= Last ? Yes : No;
}

BOOLEAN HostAdvise(uint32_t Code, const uint64_t *Parameters, unsigned Count, const char **Cause, const char **Cure)
{
    for (size_t I = 0; I < ARRAYSIZE(Advice); I++)
        if (Advice[I].Code == Code && Fit(Advice[I].Selector, Advice[I].First, Advice[I].Last, Parameters, Count) >= Always) {
            *Cause = Advice[I].Cause;
            *Cure = Advice[I].Cure;
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

static FIT FitsRow(size_t Row, const uint64_t *Parameters, unsigned Count)
{
    return Fit(Rows[Row].Selector, Rows[Row].Value, Rows[Row].Value, Parameters, Count);
}

/* The row for the parameters that are known; -1: none. */
static int FindRow(uint32_t Code, const uint64_t *Parameters, unsigned Count)
{
    int Any = -1;
    for (size_t I = 0; I < ARRAYSIZE(Rows); I++) {
        FIT How = Rows[I].Code == Code ? FitsRow(I, Parameters, Count) : No;
        if (How == Yes)
            return (int)I;
        if (How == Always && Any < 0)
            Any = (int)I;
    }
    return Any;
}

BOOLEAN HostIsAccess(uint32_t Code)
{
    static const uint32_t Accesses[] = {0x0A, 0x50, 0xBE, 0xC6, 0xCC, 0xCD, 0xCE, 0xD0, 0xD1, 0xD4, 0xD5, 0xD6, 0xFC};
    for (size_t I = 0; I < ARRAYSIZE(Accesses); I++)
        if (Accesses[I] == Code)
            return TRUE;
    return FALSE;
}

/* What a stop is about, where it does not say: the address that was used, or the parameter that is a structure in a block of pool. */
const void *HostObjectOf(uint32_t Code, const uint64_t *P)
{
    static const char *const Kinds[] = {"MDL",       "IRP",       "wait object",    "sync object",
                                        "spin lock", "lock",      "fast mutex",     "event",
                                        "resource",  "ERESOURCE", "timer",          "DPC object",
                                        "work item", "object",    "lookaside list", "queue entry with NULL link"};
    EXP_BLOCK_INFO Info;
    int Row = FindRow(Code, P, 4);
    if (HostIsAccess(Code))
        return (const void *)(ULONG_PTR)P[0];
    for (unsigned I = 0; Row >= 0 && I < 4; I++)
        for (size_t J = 0; J < ARRAYSIZE(Kinds); J++)
            if (!strcmp(Rows[Row].Parameters[I], Kinds[J]) && ExpDescribeBlock((const void *)(ULONG_PTR)P[I], &Info) &&
                (Info.State == ExpBlockLive || Info.State == ExpBlockFreed))
                return (const void *)(ULONG_PTR)P[I];
    return NULL;
}

static const char *Served(uint32_t Code)
{
    return Code == 0x7E ? ", in a system thread" : Code == 0x3B ? ", while a request of user mode was served" : "";
}

VOID HostAccessWords(uint32_t Code, uint64_t Kind, uint64_t Address, char *Text, size_t Size)
{
    if (Address == ~0ull)
        snprintf(Text, Size, "An access violation that nothing handled%s: a use of an address that is not canonical.",
                 Served(Code));
    else
        snprintf(Text, Size, "An access violation that nothing handled%s: a %s address 0x%016llX%s.", Served(Code),
                 Kind == 1   ? "write to"
                 : Kind == 8 ? "jump to"
                             : "read of",
                 (unsigned long long)Address, Address < 0x1000 ? " (a NULL pointer)" : "");
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
            HostAccessWords(Code, P[2], P[3], Text, Size);
            return;
        }
        snprintf(Text, Size, "An exception that nothing handled%s: %s (0x%08X).", Served(Code), Status ? Status : "status",
                 (unsigned)P[0]);
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
    case 0xCC:
    case 0xCD:
    case 0xD5:
    case 0xD6:
        Kind = P[1] & 0x10 ? "jump to" : P[1] & 3 ? "write to" : "read of";
        snprintf(Text, Size, "A %s address 0x%016llX, %s a block of special pool%s%s.", Kind, (unsigned long long)P[0],
                 Code == 0xCC || Code == 0xD5 ? "in" : "beyond the end of",
                 Code == 0xCC || Code == 0xD5 ? " that was freed: use after free" : ": overrun",
                 Code == 0xCC || Code == 0xCD ? ", by a kernel routine" : "");
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

/* ---- ntmm explain ---- */

/* "0x7", "0xF 0x2", "parameter 4 0x23": what has to be said for a row to be chosen. */
static VOID NameRow(size_t Row, char *Text, size_t Size)
{
    unsigned long long Value = Rows[Row].Value;
    if (Rows[Row].Selector == SELECT_PAIR)
        snprintf(Text, Size, "0x%llX 0x%llX", Value >> 32, Value & MAXULONG);
    else if (Rows[Row].Selector == SELECT_LOW_BYTE)
        snprintf(Text, Size, "low byte 0x%02llX", Value);
    else if (Rows[Row].Selector == SELECT_BELOW)
        snprintf(Text, Size, "below 0x%llX", Value);
    else if (Rows[Row].Selector > 1)
        snprintf(Text, Size, "parameter %u 0x%llX", Rows[Row].Selector, Value);
    else if (Rows[Row].Selector == 1)
        snprintf(Text, Size, "0x%llX", Value);
    else
        snprintf(Text, Size, "any");
}

/* Which rows to list where none is chosen: those that missing parameters could choose, or (there are none) all of the code. */
static BOOLEAN Undecided(uint32_t Code, const uint64_t *Parameters, unsigned Count)
{
    for (size_t I = 0; I < ARRAYSIZE(Rows); I++)
        if (Rows[I].Code == Code && FitsRow(I, Parameters, Count) == Maybe)
            return TRUE;
    return FALSE;
}

static BOOLEAN Known(uint32_t Code)
{
    for (size_t I = 0; I < ARRAYSIZE(Rows); I++)
        if (Rows[I].Code == Code)
            return TRUE;
    return FALSE;
}

/* The next row to list at or behind From; -1: no more. */
static int NextListed(size_t From, uint32_t Code, const uint64_t *Parameters, unsigned Count)
{
    BOOLEAN Some = Undecided(Code, Parameters, Count);
    for (size_t I = From; I < ARRAYSIZE(Rows); I++)
        if (Rows[I].Code == Code && (!Some || FitsRow(I, Parameters, Count) == Maybe))
            return (int)I;
    return -1;
}

/* A parameter whose meaning is a number is said by its value. */
static BOOLEAN IsNumber(const char *Meaning)
{
    return Meaning[0] == 0 || Meaning[strspn(Meaning, "0123456789abcdefABCDEFx")] == 0;
}

size_t ntmm_explain(uint32_t code, const uint64_t *parameters, unsigned count, char *text, size_t size)
{
    HOST_TEXT Text = {text, size, 0};
    const char *Name = KiBugCheckName(code), *Cause, *Cure;
    int Row;

    if (size)
        text[0] = 0;
    if (!Name && !Known(code))
        return 0;
    if (count > 4)
        count = 4;
    HostPut(&Text, "0x%08X %s\n", code, Name ? Name : "");
    Row = FindRow(code, parameters, count);
    if (Row >= 0) {
        HostPutWrapped(&Text, " ", Rows[Row].What, 3, EXPLAIN_WIDTH);
        for (unsigned I = 0; I < 4; I++) {
            const char *Meaning = Rows[Row].Parameters[I];
            if (I < count)
                HostPut(&Text, "  parameter %u  0x%016llX%s%s\n", I + 1, (unsigned long long)parameters[I],
                        IsNumber(Meaning) ? "" : "  ", IsNumber(Meaning) ? "" : Meaning);
            else if (*Meaning)
                HostPut(&Text, "  parameter %u  %s\n", I + 1, Meaning);
        }
    } else if (Known(code)) {
        char Select[48], Head[56];
        HostPut(&Text, Undecided(code, parameters, count)
                           ? "  The parameters tell which:\n"
                           : "  These parameters are not ones that the documents name. Known are:\n");
        for (int I = -1; (I = NextListed((size_t)I + 1, code, parameters, count)) >= 0;) {
            NameRow((size_t)I, Select, sizeof Select);
            snprintf(Head, sizeof Head, "  %s:", Select);
            HostPutWrapped(&Text, Head, Rows[I].What, 3, EXPLAIN_WIDTH);
        }
    }
    if (HostAdvise(code, parameters, count, &Cause, &Cure)) {
        HostPutWrapped(&Text, "Usually:", Cause, 3, EXPLAIN_WIDTH);
        HostPutWrapped(&Text, "Cure:", Cure, 3, EXPLAIN_WIDTH);
    }
    if (Row < 0 && Known(code))
        HostPut(&Text, "With the parameters, ntmm explain says what they mean, and the usual cause and cure of just that.\n");
    return Text.Used;
}

/* What a row says, with its cause and cure; Parameters are those that choose it. */
static json_t *RowJson(size_t Row, const char *Cause, const char *Cure)
{
    json_t *List = json_array();
    for (unsigned I = 0; I < 4; I++)
        json_array_append_new(List, json_string(Rows[Row].Parameters[I]));
    return json_pack("{s:s, s:o, s:s?, s:s?}", "what", Rows[Row].What, "meanings", List, "usually", Cause, "cure", Cure);
}

json_t *HostExplainJson(uint32_t Code, const uint64_t *Parameters, unsigned Count)
{
    const char *Name = KiBugCheckName(Code), *Cause = NULL, *Cure = NULL;
    int Row = FindRow(Code, Parameters, Count);
    json_t *Root, *List;
    char Text[48];
    HOST_UNWATCHED;

    HostAdvise(Code, Parameters, Count, &Cause, &Cure);
    Root = Row >= 0 ? RowJson((size_t)Row, Cause, Cure) : json_pack("{s:s?, s:s?}", "usually", Cause, "cure", Cure);
    List = json_array();
    for (unsigned I = 0; I < Count; I++) {
        snprintf(Text, sizeof Text, "0x%llX", (unsigned long long)Parameters[I]);
        json_array_append_new(List, json_string(Text));
    }
    snprintf(Text, sizeof Text, "0x%X", Code);
    json_object_set_new(Root, "code", json_string(Text));
    json_object_set_new(Root, "name", Name ? json_string(Name) : json_null());
    json_object_set_new(Root, "parameters", List);
    if (Row >= 0 || !Known(Code))
        return Root;
    List = json_array();
    for (int I = -1; (I = NextListed((size_t)I + 1, Code, Parameters, Count)) >= 0;) {
        uint64_t Would[4] = {0, 0, 0, 0};
        unsigned Selector = Rows[I].Selector;
        json_t *Entry;
        if (Selector == SELECT_PAIR) {
            Would[0] = Rows[I].Value >> 32;
            Would[1] = Rows[I].Value & MAXULONG;
        } else if (Selector >= 1 && Selector <= 4) {
            Would[Selector - 1] = Rows[I].Value;
        } else {
            Would[0] = Selector == SELECT_BELOW ? 0 : Rows[I].Value;
        }
        Cause = Cure = NULL;
        HostAdvise(Code, Would, 4, &Cause, &Cure);
        Entry = RowJson((size_t)I, Cause, Cure);
        NameRow((size_t)I, Text, sizeof Text);
        json_object_set_new(Entry, "selected_by", json_string(Text));
        json_array_append_new(List, Entry);
    }
    json_object_set_new(Root, "rows", List);
    return Root;
}
