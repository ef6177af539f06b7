/*
 * rtl.h - the run-time library: lists, memory, counted strings, conversions, numbers, time, versions.
 *
 * Bitmaps, trees and tables are in rtltable.h; the C run-time names that the kernel exports are in crt.h.
 *
 * Strings are counted: Length and MaximumLength are bytes, Length excludes a terminator and no terminator is
 * needed. A counted string holds at most 0xFFFF bytes (UNICODE_STRING_MAX_BYTES 0xFFFE). "ANSI" is code page
 * 1252 and "OEM" code page 437, as on an English Windows. Case mapping is Unicode's simple one-to-one mapping
 * over the basic multilingual plane, without locale.
 *
 * IRQL: "any" means any IRQL as long as all memory touched is resident. Windows keeps its code-page and case
 * tables in pageable memory, so routines that use them are documented for PASSIVE_LEVEL.
 * SPDX-License-Identifier: MIT
 */
#ifndef _NTMM_RTL_
#define _NTMM_RTL_

#if !__STDC_HOSTED__
EXTERN_C_START
void *memcpy(void *Destination, const void *Source, size_t Length);
void *memmove(void *Destination, const void *Source, size_t Length);
void *memset(void *Destination, int Value, size_t Length);
int memcmp(const void *Source1, const void *Source2, size_t Length);
EXTERN_C_END
#else
#include <string.h>
#endif

#ifdef __cplusplus
extern "C" {
#endif

#define MAX_USTRING              0xFFFE
#define UNICODE_STRING_MAX_BYTES ((USHORT)65534)
#define UNICODE_STRING_MAX_CHARS (32767)

/* Stops the system: bug check 0x139 (KERNEL_SECURITY_CHECK_FAILURE), parameter 1 the code, parameter 3 the
 * address of the exception record (STATUS_STACK_BUFFER_OVERRUN) that describes it. Any IRQL. Pages:
 * __fastfail, "Bug Check 0x139" */
NTSYSAPI DECLSPEC_NORETURN VOID RtlFailFast(ULONG Code);
#define __fastfail RtlFailFast
/* The same with FAST_FAIL_CORRUPT_LIST_ENTRY, for a list whose links disagree: p1 is the entry, or the list's head, that was looked at, p2 the
 * entry beside it. The report shows both, and their neighbours. Any IRQL. Page: "Bug Check 0x139" */
NTSYSAPI DECLSPEC_NORETURN VOID FatalListEntryError(PVOID p1, PVOID p2, PVOID p3);

/* ======================================================= lists
 * ======================================================= Any IRQL. Doubly linked: a head whose Flink or
 * Blink, or an entry whose neighbour, does not point back is corruption; the routine then fails fast with
 * FAST_FAIL_CORRUPT_LIST_ENTRY (3), so parameter 1 of bug check 0x139 is 3. */
#define RTL_STATIC_LIST_HEAD(x) LIST_ENTRY x = {&x, &x}

/* Makes ListHead an empty list. Page: InitializeListHead */
FORCEINLINE VOID InitializeListHead(PLIST_ENTRY ListHead)
{
    ListHead->Flink = ListHead->Blink = ListHead;
}

/* TRUE if the list has no entries. Page: IsListEmpty */
FORCEINLINE BOOLEAN IsListEmpty(const LIST_ENTRY *ListHead)
{
    return (BOOLEAN)(ListHead->Flink == ListHead);
}

/* Removes Entry from the list it is on. TRUE if the list is then empty. Page: RemoveEntryList */
FORCEINLINE BOOLEAN RemoveEntryList(PLIST_ENTRY Entry)
{
    PLIST_ENTRY Next = Entry->Flink, Previous = Entry->Blink;
    if (Next->Blink != Entry || Previous->Flink != Entry)
        FatalListEntryError(Entry, Next, Previous);
    Previous->Flink = Next;
    Next->Blink = Previous;
    return (BOOLEAN)(Next == Previous);
}

/* Removes and returns the first entry; ListHead itself if the list is empty. Page: RemoveHeadList */
FORCEINLINE PLIST_ENTRY RemoveHeadList(PLIST_ENTRY ListHead)
{
    PLIST_ENTRY Entry = ListHead->Flink, Next = Entry->Flink;
    if (Entry->Blink != ListHead || Next->Blink != Entry)
        FatalListEntryError(ListHead, Entry, Next);
    ListHead->Flink = Next;
    Next->Blink = ListHead;
    return Entry;
}

/* Removes and returns the last entry; ListHead itself if the list is empty. Page: RemoveTailList */
FORCEINLINE PLIST_ENTRY RemoveTailList(PLIST_ENTRY ListHead)
{
    PLIST_ENTRY Entry = ListHead->Blink, Previous = Entry->Blink;
    if (Entry->Flink != ListHead || Previous->Flink != Entry)
        FatalListEntryError(ListHead, Entry, Previous);
    ListHead->Blink = Previous;
    Previous->Flink = ListHead;
    return Entry;
}

/* Inserts Entry as the first. Page: InsertHeadList */
FORCEINLINE VOID InsertHeadList(PLIST_ENTRY ListHead, PLIST_ENTRY Entry)
{
    PLIST_ENTRY Next = ListHead->Flink;
    if (Next->Blink != ListHead)
        FatalListEntryError(ListHead, Next, NULL);
    Entry->Flink = Next;
    Entry->Blink = ListHead;
    Next->Blink = Entry;
    ListHead->Flink = Entry;
}

/* Inserts Entry as the last. Page: InsertTailList */
FORCEINLINE VOID InsertTailList(PLIST_ENTRY ListHead, PLIST_ENTRY Entry)
{
    PLIST_ENTRY Previous = ListHead->Blink;
    if (Previous->Flink != ListHead)
        FatalListEntryError(ListHead, Previous, NULL);
    Entry->Flink = ListHead;
    Entry->Blink = Previous;
    Previous->Flink = Entry;
    ListHead->Blink = Entry;
}

/* Appends the circular run of entries that starts at ListToAppend (a list without its head). Page:
 * AppendTailList */
FORCEINLINE VOID AppendTailList(PLIST_ENTRY ListHead, PLIST_ENTRY ListToAppend)
{
    PLIST_ENTRY End = ListHead->Blink, AppendEnd = ListToAppend->Blink;
    if (ListHead->Flink->Blink != ListHead || End->Flink != ListHead || ListToAppend->Flink->Blink != ListToAppend ||
        AppendEnd->Flink != ListToAppend)
        FatalListEntryError(ListHead, ListToAppend, NULL);
    End->Flink = ListToAppend;
    ListHead->Blink = AppendEnd;
    AppendEnd->Flink = ListHead;
    ListToAppend->Blink = End;
}

/* Pops the first entry of a singly linked list; NULL if it is empty. Page: PopEntryList */
FORCEINLINE PSINGLE_LIST_ENTRY PopEntryList(PSINGLE_LIST_ENTRY ListHead)
{
    PSINGLE_LIST_ENTRY First = ListHead->Next;
    if (First != NULL)
        ListHead->Next = First->Next;
    return First;
}

/* Page: PushEntryList */
FORCEINLINE VOID PushEntryList(PSINGLE_LIST_ENTRY ListHead, PSINGLE_LIST_ENTRY Entry)
{
    Entry->Next = ListHead->Next;
    ListHead->Next = Entry;
}

/* ======================================================= memory
 * ====================================================== Any IRQL. Lengths are bytes. */
#define RtlCopyMemory(Destination, Source, Length) memcpy((Destination), (Source), (Length))
#define RtlMoveMemory(Destination, Source, Length) memmove((Destination), (Source), (Length))
#define RtlFillMemory(Destination, Length, Fill)   memset((Destination), (Fill), (Length))
#define RtlZeroMemory(Destination, Length)         memset((Destination), 0, (Length))
#define RtlEqualMemory(Source1, Source2, Length)   (!memcmp((Source1), (Source2), (Length)))
#define RtlCopyBytes                               RtlCopyMemory
#define RtlZeroBytes                               RtlZeroMemory
#define RtlFillBytes                               RtlFillMemory

/* The number of bytes that are equal before the first difference; Length if all are. Page: RtlCompareMemory
 */
NTSYSAPI SIZE_T RtlCompareMemory(const VOID *Source1, const VOID *Source2, SIZE_T Length);
/* The number of bytes, a multiple of 4, that equal Pattern repeated, before the first difference. Source must
 * be ULONG aligned and Length a multiple of 4; otherwise 0 (Source) or the odd tail is left out (Length).
 * Page: RtlCompareMemoryUlong */
NTSYSAPI SIZE_T RtlCompareMemoryUlong(PVOID Source, SIZE_T Length, ULONG Pattern);
/* Fills Length/4 ULONGs. Page: RtlFillMemoryUlong */
NTSYSAPI VOID RtlFillMemoryUlong(PVOID Destination, SIZE_T Length, ULONG Pattern);
/* Fills Length/8 ULONGLONGs. Page: RtlFillMemoryUlonglong */
NTSYSAPI VOID RtlFillMemoryUlonglong(PVOID Destination, SIZE_T Length, ULONGLONG Pattern);
/* Copies past the caches; Destination and Source must not overlap. Page: RtlCopyMemoryNonTemporal */
NTSYSAPI VOID RtlCopyMemoryNonTemporal(VOID *Destination, const VOID *Source, SIZE_T Length);
/* Page: RtlFillMemoryNonTemporal */
NTSYSAPI VOID RtlFillMemoryNonTemporal(VOID *Destination, SIZE_T Length, UCHAR Value);
/* A hint only. Page: RtlPrefetchMemoryNonTemporal */
NTSYSAPI VOID RtlPrefetchMemoryNonTemporal(PVOID Source, SIZE_T Length);
/* TRUE if all bytes are 0. Page: RtlIsZeroMemory */
NTSYSAPI BOOLEAN RtlIsZeroMemory(PVOID Buffer, SIZE_T Length);
/* TRUE if equal; the time does not depend on where they differ. Page: RtlConstantTimeEqualMemory */
NTSYSAPI LOGICAL RtlConstantTimeEqualMemory(const VOID *v1, const VOID *v2, ULONG len);

/* Zeroes in a way that the compiler does not drop. Page: RtlSecureZeroMemory */
FORCEINLINE PVOID RtlSecureZeroMemory(PVOID Pointer, SIZE_T Length)
{
    memset(Pointer, 0, (size_t)Length);
    __asm__ volatile("" : : "r"(Pointer) : "memory");
    return Pointer;
}
#define RtlSecureZeroMemory2 RtlSecureZeroMemory

/* Volatile forms: done exactly once, not merged and not dropped. Device forms: only naturally sized and
 * aligned accesses, safe on uncached memory. Pages: RtlZeroVolatileMemory, RtlCopyVolatileMemory,
 * RtlCopyDeviceMemory, ... */
NTSYSAPI volatile VOID *RtlCopyVolatileMemory(volatile VOID *Destination, volatile const VOID *Source, SIZE_T Length);
NTSYSAPI volatile VOID *RtlMoveVolatileMemory(volatile VOID *Destination, volatile const VOID *Source, SIZE_T Length);
NTSYSAPI volatile VOID *RtlSetVolatileMemory(volatile VOID *Destination, INT Value, SIZE_T Length);
NTSYSAPI volatile VOID *RtlFillVolatileMemory(volatile VOID *Destination, SIZE_T Length, INT Fill);
NTSYSAPI volatile VOID *RtlZeroVolatileMemory(volatile VOID *Destination, SIZE_T Length);
NTSYSAPI volatile VOID *RtlCopyDeviceMemory(volatile VOID *Destination, volatile const VOID *Source, SIZE_T Length);
NTSYSAPI volatile VOID *RtlSetDeviceMemory(volatile VOID *Destination, INT Value, SIZE_T Length);
NTSYSAPI volatile VOID *RtlFillDeviceMemory(volatile VOID *Destination, SIZE_T Length, INT Fill);
NTSYSAPI volatile VOID *RtlZeroDeviceMemory(volatile VOID *Destination, SIZE_T Length);

/* Values at any alignment. Page: RtlRetrieveUlong and its kin */
#define RtlRetrieveUshort(DestAddress, SrcAddress) memcpy((DestAddress), (SrcAddress), sizeof(USHORT))
#define RtlRetrieveUlong(DestAddress, SrcAddress)  memcpy((DestAddress), (SrcAddress), sizeof(ULONG))
#define RtlStoreUshort(Address, Value)             NtmmStore16((Address), (USHORT)(Value))
#define RtlStoreUlong(Address, Value)              NtmmStore32((Address), (ULONG)(Value))
#define RtlStoreUlonglong(Address, Value)          NtmmStore64((Address), (ULONGLONG)(Value))
#define RtlStoreUlongPtr(Address, Value)           RtlStoreUlonglong((Address), (Value))
FORCEINLINE VOID NtmmStore16(PVOID Address, USHORT Value)
{
    memcpy(Address, &Value, sizeof(Value));
}
FORCEINLINE VOID NtmmStore32(PVOID Address, ULONG Value)
{
    memcpy(Address, &Value, sizeof(Value));
}
FORCEINLINE VOID NtmmStore64(PVOID Address, ULONGLONG Value)
{
    memcpy(Address, &Value, sizeof(Value));
}

/* Persistent memory. The token needs no storage here; every buffer is accepted. STATUS_SUCCESS,
 * STATUS_INVALID_PARAMETER (no buffer, no size, unknown flag). Pages: RtlGetNonVolatileToken,
 * RtlFlushNonVolatileMemory, RtlWriteNonVolatileMemory, ... */
#define FLUSH_NV_MEMORY_IN_FLAG_NO_DRAIN  0x00000001
#define WRITE_NV_MEMORY_FLAG_FLUSH        0x00000001
#define WRITE_NV_MEMORY_FLAG_NON_TEMPORAL 0x00000002
#define WRITE_NV_MEMORY_FLAG_PERSIST      (WRITE_NV_MEMORY_FLAG_FLUSH | WRITE_NV_MEMORY_FLAG_NON_TEMPORAL)
#define WRITE_NV_MEMORY_FLAG_NO_DRAIN     0x00000100
#define FILL_NV_MEMORY_FLAG_FLUSH         0x00000001
#define FILL_NV_MEMORY_FLAG_NON_TEMPORAL  0x00000002
#define FILL_NV_MEMORY_FLAG_PERSIST       (FILL_NV_MEMORY_FLAG_FLUSH | FILL_NV_MEMORY_FLAG_NON_TEMPORAL)
#define FILL_NV_MEMORY_FLAG_NO_DRAIN      0x00000100
typedef struct _NV_MEMORY_RANGE {
    VOID *BaseAddress;
    SIZE_T Length;
} NV_MEMORY_RANGE, *PNV_MEMORY_RANGE;
NTSYSAPI NTSTATUS RtlGetNonVolatileToken(PVOID NvBuffer, SIZE_T Size, PVOID *NvToken);
NTSYSAPI NTSTATUS RtlFreeNonVolatileToken(PVOID NvToken);
NTSYSAPI NTSTATUS RtlFlushNonVolatileMemory(PVOID NvToken, PVOID NvBuffer, SIZE_T Size, ULONG Flags);
NTSYSAPI NTSTATUS RtlFlushNonVolatileMemoryRanges(PVOID NvToken, PNV_MEMORY_RANGE NvRanges, SIZE_T NumRanges, ULONG Flags);
NTSYSAPI NTSTATUS RtlDrainNonVolatileFlush(PVOID NvToken);
NTSYSAPI NTSTATUS RtlWriteNonVolatileMemory(PVOID NvToken, VOID *NvDestination, const VOID *Source, SIZE_T Size, ULONG Flags);
NTSYSAPI NTSTATUS RtlFillNonVolatileMemory(PVOID NvToken, VOID *NvDestination, SIZE_T Size, UCHAR Value, ULONG Flags);

/* ================================================== counted strings
 * ================================================= */
/* A literal or constant array as a UNICODE_STRING or ANSI_STRING initialiser. Page: RTL_CONSTANT_STRING */
#ifdef __cplusplus
#define RTL_CONSTANT_STRING(s)                                                                                                 \
    {                                                                                                                          \
        sizeof(s) - sizeof((s)[0]), sizeof(s), NtmmStringBuffer(s)                                                             \
    }
#else
#define RTL_CONSTANT_STRING(s)                                                                                                 \
    {                                                                                                                          \
        sizeof(s) - sizeof((s)[0]), sizeof(s), (PVOID)(s)                                                                      \
    }
#endif
#define DECLARE_CONST_UNICODE_STRING(_var, _string)                                                                            \
    const WCHAR _var##_buffer[] = _string;                                                                                     \
    const UNICODE_STRING _var = {sizeof(_string) - sizeof(WCHAR), sizeof(_string), (PWCH)_var##_buffer}
#define DECLARE_GLOBAL_CONST_UNICODE_STRING(_var, _str)                                                                        \
    static const WCHAR _var##_buffer[] = _str;                                                                                 \
    __attribute__((unused)) static const UNICODE_STRING _var = {sizeof(_str) - sizeof(WCHAR), sizeof(_str), (PWCH)_var##_buffer}
#define DECLARE_UNICODE_STRING_SIZE(_var, _size)                                                                               \
    WCHAR _var##_buffer[_size];                                                                                                \
    UNICODE_STRING _var = {0, (_size) * sizeof(WCHAR), _var##_buffer}
#define RtlInitEmptyUnicodeString(_ucStr, _buf, _bufSize)                                                                      \
    ((_ucStr)->Buffer = (_buf), (_ucStr)->Length = 0, (_ucStr)->MaximumLength = (USHORT)(_bufSize))
#define RtlInitEmptyAnsiString(_ansiStr, _buf, _bufSize)                                                                       \
    ((_ansiStr)->Buffer = (_buf), (_ansiStr)->Length = 0, (_ansiStr)->MaximumLength = (USHORT)(_bufSize))

typedef STRING UTF8_STRING, *PUTF8_STRING, CANSI_STRING;
typedef const STRING *PCUTF8_STRING;

/* Counts a terminated string; Length without the terminator, MaximumLength with it. NULL gives an empty
 * string with NULL Buffer. A source longer than a counted string can hold is cut to MAX_USTRING - 2 (the Ex
 * forms refuse: STATUS_NAME_TOO_LONG). The buffer is not copied. Any IRQL. Pages: RtlInitUnicodeString,
 * RtlInitAnsiString, RtlInitString, RtlInitUTF8String */
NTSYSAPI VOID RtlInitUnicodeString(PUNICODE_STRING DestinationString, PCWSTR SourceString);
NTSYSAPI NTSTATUS RtlInitUnicodeStringEx(PUNICODE_STRING DestinationString, PCWSTR SourceString);
NTSYSAPI VOID RtlInitAnsiString(PANSI_STRING DestinationString, PCSZ SourceString);
NTSYSAPI NTSTATUS RtlInitAnsiStringEx(PANSI_STRING DestinationString, PCSZ SourceString);
NTSYSAPI VOID RtlInitString(PSTRING DestinationString, PCSZ SourceString);
NTSYSAPI NTSTATUS RtlInitStringEx(PSTRING DestinationString, PCSZ SourceString);
NTSYSAPI VOID RtlInitUTF8String(PUTF8_STRING DestinationString, PCSZ SourceString);
NTSYSAPI NTSTATUS RtlInitUTF8StringEx(PUTF8_STRING DestinationString, PCSZ SourceString);

/* Copies as much as fits into MaximumLength and sets Length; adds a terminator if there is room for one; a
 * NULL source empties the destination. Any IRQL. Pages: RtlCopyUnicodeString, RtlCopyString */
NTSYSAPI VOID RtlCopyUnicodeString(PUNICODE_STRING DestinationString, PCUNICODE_STRING SourceString);
NTSYSAPI VOID RtlCopyString(PSTRING DestinationString, const STRING *SourceString);
/* Append all or nothing: STATUS_BUFFER_TOO_SMALL leaves the destination as it was. Any IRQL.
 * Pages: RtlAppendUnicodeStringToString, RtlAppendUnicodeToString, RtlAppendStringToString,
 * RtlAppendAsciizToString */
NTSYSAPI NTSTATUS RtlAppendUnicodeStringToString(PUNICODE_STRING Destination, PCUNICODE_STRING Source);
NTSYSAPI NTSTATUS RtlAppendUnicodeToString(PUNICODE_STRING Destination, PCWSTR Source);
NTSYSAPI NTSTATUS RtlAppendStringToString(PSTRING Destination, const STRING *Source);
NTSYSAPI NTSTATUS RtlAppendAsciizToString(PSTRING Destination, PCSZ Source);

/* 0 equal, <0 String1 sorts before String2, >0 after. PASSIVE_LEVEL. Pages: RtlCompareUnicodeString,
 * RtlCompareString */
NTSYSAPI LONG RtlCompareUnicodeString(PCUNICODE_STRING String1, PCUNICODE_STRING String2, BOOLEAN CaseInSensitive);
NTSYSAPI LONG RtlCompareUnicodeStrings(PCWCH String1, SIZE_T String1Length, PCWCH String2, SIZE_T String2Length,
                                       BOOLEAN CaseInSensitive);
NTSYSAPI LONG RtlCompareString(const STRING *String1, const STRING *String2, BOOLEAN CaseInSensitive);
NTSYSAPI BOOLEAN RtlEqualUnicodeString(PCUNICODE_STRING String1, PCUNICODE_STRING String2, BOOLEAN CaseInSensitive);
NTSYSAPI BOOLEAN RtlEqualString(const STRING *String1, const STRING *String2, BOOLEAN CaseInSensitive);
/* TRUE if String1 is a prefix of String2. Pages: RtlPrefixUnicodeString, RtlPrefixString */
NTSYSAPI BOOLEAN RtlPrefixUnicodeString(PCUNICODE_STRING String1, PCUNICODE_STRING String2, BOOLEAN CaseInSensitive);
NTSYSAPI BOOLEAN RtlPrefixString(const STRING *String1, const STRING *String2, BOOLEAN CaseInSensitive);
NTSYSAPI BOOLEAN RtlSuffixUnicodeString(PCUNICODE_STRING String1, PCUNICODE_STRING String2, BOOLEAN CaseInSensitive);

/* Hash of the string. STATUS_INVALID_PARAMETER: NULL, or an algorithm other than default and x65599. Page:
 * RtlHashUnicodeString */
#define HASH_STRING_ALGORITHM_DEFAULT 0
#define HASH_STRING_ALGORITHM_X65599  1
#define HASH_STRING_ALGORITHM_INVALID 0xffffffff
NTSYSAPI NTSTATUS RtlHashUnicodeString(PCUNICODE_STRING String, BOOLEAN CaseInSensitive, ULONG HashAlgorithm, PULONG HashValue);

NTSYSAPI WCHAR RtlUpcaseUnicodeChar(WCHAR SourceCharacter);
NTSYSAPI WCHAR RtlDowncaseUnicodeChar(WCHAR SourceCharacter);
NTSYSAPI CHAR RtlUpperChar(CHAR Character);
NTSYSAPI VOID RtlUpperString(PSTRING DestinationString, const STRING *SourceString);
/* With AllocateDestinationString the buffer comes from paged pool (free with RtlFreeUnicodeString), else it
 * must be big enough: STATUS_BUFFER_OVERFLOW. STATUS_NO_MEMORY. PASSIVE_LEVEL. Pages: RtlUpcaseUnicodeString,
 * RtlDowncaseUnicodeString */
NTSYSAPI NTSTATUS RtlUpcaseUnicodeString(PUNICODE_STRING DestinationString, PCUNICODE_STRING SourceString,
                                         BOOLEAN AllocateDestinationString);
NTSYSAPI NTSTATUS RtlDowncaseUnicodeString(PUNICODE_STRING DestinationString, PCUNICODE_STRING SourceString,
                                           BOOLEAN AllocateDestinationString);
/* Flags: 1 adds a terminator, 2 (with 1) allocates a terminator for an empty string too.
 * STATUS_INVALID_PARAMETER, STATUS_NO_MEMORY, STATUS_NAME_TOO_LONG. Page: RtlDuplicateUnicodeString */
#define RTL_DUPLICATE_UNICODE_STRING_NULL_TERMINATE       0x1
#define RTL_DUPLICATE_UNICODE_STRING_ALLOCATE_NULL_STRING 0x2
NTSYSAPI NTSTATUS RtlDuplicateUnicodeString(ULONG Flags, PCUNICODE_STRING StringIn, PUNICODE_STRING StringOut);
/* Flags must be 0. STATUS_INVALID_PARAMETER: odd length, Length > MaximumLength, NULL Buffer with a length.
 * Page: RtlValidateUnicodeString */
NTSYSAPI NTSTATUS RtlValidateUnicodeString(ULONG Flags, PCUNICODE_STRING String);
/* Release what an allocating routine made; an empty string is left alone. PASSIVE_LEVEL. Pages:
 * RtlFreeUnicodeString, RtlFreeAnsiString */
NTSYSAPI VOID RtlFreeUnicodeString(PUNICODE_STRING UnicodeString);
NTSYSAPI VOID RtlFreeAnsiString(PANSI_STRING AnsiString);
NTSYSAPI VOID RtlFreeOemString(POEM_STRING OemString);
NTSYSAPI VOID RtlFreeUTF8String(PUTF8_STRING Utf8String);
NTSYSAPI BOOLEAN RtlCreateUnicodeString(PUNICODE_STRING DestinationString, PCWSTR SourceString);

/* ---- between code pages: allocate or use the caller's buffer, as RtlUpcaseUnicodeString; results are
 * terminated; a character that the code page lacks becomes
 * '?'. STATUS_BUFFER_OVERFLOW, STATUS_NO_MEMORY, STATUS_INVALID_PARAMETER_2 (result too long for a counted
 * string). Pages: RtlAnsiStringToUnicodeString, RtlUnicodeStringToAnsiString, RtlOemStringToUnicodeString,
 * ... */
NTSYSAPI NTSTATUS RtlAnsiStringToUnicodeString(PUNICODE_STRING DestinationString, PCANSI_STRING SourceString,
                                               BOOLEAN AllocateDestinationString);
NTSYSAPI NTSTATUS RtlUnicodeStringToAnsiString(PANSI_STRING DestinationString, PCUNICODE_STRING SourceString,
                                               BOOLEAN AllocateDestinationString);
NTSYSAPI NTSTATUS RtlUpcaseUnicodeStringToAnsiString(PANSI_STRING DestinationString, PCUNICODE_STRING SourceString,
                                                     BOOLEAN AllocateDestinationString);
NTSYSAPI NTSTATUS RtlOemStringToUnicodeString(PUNICODE_STRING DestinationString, PCOEM_STRING SourceString,
                                              BOOLEAN AllocateDestinationString);
NTSYSAPI NTSTATUS RtlUnicodeStringToOemString(POEM_STRING DestinationString, PCUNICODE_STRING SourceString,
                                              BOOLEAN AllocateDestinationString);
NTSYSAPI NTSTATUS RtlUpcaseUnicodeStringToOemString(POEM_STRING DestinationString, PCUNICODE_STRING SourceString,
                                                    BOOLEAN AllocateDestinationString);
/* The same without a terminator; a character that the code page lacks fails: STATUS_UNMAPPABLE_CHARACTER, and nothing is allocated or
 * converted. IRQL < DISPATCH_LEVEL. Pages: RtlOemStringToCountedUnicodeString, RtlUnicodeStringToCountedOemString,
 * RtlUpcaseUnicodeStringToCountedOemString */
NTSYSAPI NTSTATUS RtlOemStringToCountedUnicodeString(PUNICODE_STRING DestinationString, PCOEM_STRING SourceString,
                                                     BOOLEAN AllocateDestinationString);
NTSYSAPI NTSTATUS RtlUnicodeStringToCountedOemString(POEM_STRING DestinationString, PCUNICODE_STRING SourceString,
                                                     BOOLEAN AllocateDestinationString);
NTSYSAPI NTSTATUS RtlUpcaseUnicodeStringToCountedOemString(POEM_STRING DestinationString, PCUNICODE_STRING SourceString,
                                                           BOOLEAN AllocateDestinationString);
/* UTF-8: terminated if the source is. STATUS_SOME_NOT_MAPPED: U+FFFD stands for what is no character; STATUS_BUFFER_OVERFLOW (both
 * warnings): the caller's buffer has what fits. Pages: RtlUnicodeStringToUTF8String, RtlUTF8StringToUnicodeString */
NTSYSAPI NTSTATUS RtlUnicodeStringToUTF8String(PUTF8_STRING DestinationString, PCUNICODE_STRING SourceString,
                                               BOOLEAN AllocateDestinationString);
NTSYSAPI NTSTATUS RtlUTF8StringToUnicodeString(PUNICODE_STRING DestinationString, PCUTF8_STRING SourceString,
                                               BOOLEAN AllocateDestinationString);
/* Bytes that the converted string needs, terminator included. Pages: RtlAnsiStringToUnicodeSize,
 * RtlUnicodeStringToAnsiSize, ... */
NTSYSAPI ULONG RtlxAnsiStringToUnicodeSize(PCANSI_STRING AnsiString);
NTSYSAPI ULONG RtlxUnicodeStringToAnsiSize(PCUNICODE_STRING UnicodeString);
NTSYSAPI ULONG RtlxOemStringToUnicodeSize(PCOEM_STRING OemString);
NTSYSAPI ULONG RtlxUnicodeStringToOemSize(PCUNICODE_STRING UnicodeString);
#define RtlAnsiStringToUnicodeSize(STRING)       RtlxAnsiStringToUnicodeSize(STRING)
#define RtlUnicodeStringToAnsiSize(STRING)       RtlxUnicodeStringToAnsiSize(STRING)
#define RtlOemStringToUnicodeSize(STRING)        RtlxOemStringToUnicodeSize(STRING)
#define RtlUnicodeStringToOemSize(STRING)        RtlxUnicodeStringToOemSize(STRING)
#define RtlOemStringToCountedUnicodeSize(STRING) ((ULONG)(RtlOemStringToUnicodeSize(STRING) - sizeof(UNICODE_NULL)))
#define RtlUnicodeStringToCountedOemSize(STRING) ((ULONG)(RtlUnicodeStringToOemSize(STRING) - sizeof(ANSI_NULL)))
/* Counted buffers, no terminators; sizes in bytes; what does not fit is left out and the status is
 * STATUS_SUCCESS (UTF-8: STATUS_BUFFER_TOO_SMALL, and STATUS_SOME_NOT_MAPPED where a replacement character
 * went in). Pages: RtlMultiByteToUnicodeN, RtlUnicodeToMultiByteN, RtlUTF8ToUnicodeN, ... */
NTSYSAPI NTSTATUS RtlMultiByteToUnicodeN(PWCH UnicodeString, ULONG MaxBytesInUnicodeString, PULONG BytesInUnicodeString,
                                         const CHAR *MultiByteString, ULONG BytesInMultiByteString);
NTSYSAPI NTSTATUS RtlMultiByteToUnicodeSize(PULONG BytesInUnicodeString, const CHAR *MultiByteString,
                                            ULONG BytesInMultiByteString);
NTSYSAPI NTSTATUS RtlUnicodeToMultiByteN(PCHAR MultiByteString, ULONG MaxBytesInMultiByteString, PULONG BytesInMultiByteString,
                                         PCWCH UnicodeString, ULONG BytesInUnicodeString);
NTSYSAPI NTSTATUS RtlUnicodeToMultiByteSize(PULONG BytesInMultiByteString, PCWCH UnicodeString, ULONG BytesInUnicodeString);
NTSYSAPI NTSTATUS RtlUpcaseUnicodeToMultiByteN(PCHAR MultiByteString, ULONG MaxBytesInMultiByteString,
                                               PULONG BytesInMultiByteString, PCWCH UnicodeString, ULONG BytesInUnicodeString);
NTSYSAPI NTSTATUS RtlOemToUnicodeN(PWCH UnicodeString, ULONG MaxBytesInUnicodeString, PULONG BytesInUnicodeString,
                                   const CHAR *OemString, ULONG BytesInOemString);
NTSYSAPI NTSTATUS RtlUnicodeToOemN(PCHAR OemString, ULONG MaxBytesInOemString, PULONG BytesInOemString, PCWCH UnicodeString,
                                   ULONG BytesInUnicodeString);
NTSYSAPI NTSTATUS RtlUpcaseUnicodeToOemN(PCHAR OemString, ULONG MaxBytesInOemString, PULONG BytesInOemString,
                                         PCWCH UnicodeString, ULONG BytesInUnicodeString);
NTSYSAPI NTSTATUS RtlUTF8ToUnicodeN(PWSTR UnicodeStringDestination, ULONG UnicodeStringMaxByteCount,
                                    PULONG UnicodeStringActualByteCount, PCCH UTF8StringSource, ULONG UTF8StringByteCount);
NTSYSAPI NTSTATUS RtlUnicodeToUTF8N(PCHAR UTF8StringDestination, ULONG UTF8StringMaxByteCount, PULONG UTF8StringActualByteCount,
                                    PCWCH UnicodeStringSource, ULONG UnicodeStringByteCount);

/* ======================================================= numbers
 * ===================================================== Base 0 means 10; others: 2, 8, 10, 16, else
 * STATUS_INVALID_PARAMETER. Results are terminated if there is room; STATUS_BUFFER_OVERFLOW if the digits do
 * not fit. PASSIVE_LEVEL. Pages: RtlIntegerToUnicodeString, RtlInt64ToUnicodeString, RtlIntegerToChar */
NTSYSAPI NTSTATUS RtlIntegerToUnicodeString(ULONG Value, ULONG Base, PUNICODE_STRING String);
NTSYSAPI NTSTATUS RtlInt64ToUnicodeString(ULONGLONG Value, ULONG Base, PUNICODE_STRING String);
NTSYSAPI NTSTATUS RtlIntPtrToUnicodeString(ULONG_PTR Value, ULONG Base, PUNICODE_STRING String);
NTSYSAPI NTSTATUS RtlIntegerToChar(ULONG Value, ULONG Base, LONG OutputLength, PSZ String);
/* Skips spaces and controls, takes a sign, takes 0b 0o 0x when Base is 0, stops at the first character that
 * is no digit; a string without digits is 0. Pages: RtlUnicodeStringToInteger, RtlCharToInteger,
 * RtlUnicodeStringToInt64 */
NTSYSAPI NTSTATUS RtlUnicodeStringToInteger(PCUNICODE_STRING String, ULONG Base, PULONG Value);
NTSYSAPI NTSTATUS RtlUnicodeStringToInt64(PCUNICODE_STRING String, ULONG Base, PLONG64 Number, PWSTR *EndPointer);
NTSYSAPI NTSTATUS RtlCharToInteger(PCSZ String, ULONG Base, PULONG Value);
/* {xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx}; the string is allocated. STATUS_INVALID_PARAMETER,
 * STATUS_NO_MEMORY. Pages: RtlStringFromGUID, RtlGUIDFromString */
NTSYSAPI NTSTATUS RtlStringFromGUID(const GUID *Guid, PUNICODE_STRING GuidString);
NTSYSAPI NTSTATUS RtlGUIDFromString(PCUNICODE_STRING GuidString, GUID *Guid);
#define IsEqualGUID(a, b)       (!memcmp((a), (b), sizeof(GUID)))
#define InlineIsEqualGUID(a, b) IsEqualGUID(a, b)

/* Any IRQL. Pages: RtlUshortByteSwap, RtlUlongByteSwap, RtlUlonglongByteSwap */
#define RtlUshortByteSwap(_x)    __builtin_bswap16((USHORT)(_x))
#define RtlUlongByteSwap(_x)     __builtin_bswap32((ULONG)(_x))
#define RtlUlonglongByteSwap(_x) ((ULONGLONG)__builtin_bswap64((ULONGLONG)(_x)))

/* A pseudo-random number in 0..MAXLONG-1; the seed advances. Pages: RtlRandom, RtlRandomEx, RtlUniform */
NTSYSAPI ULONG RtlRandom(PULONG Seed);
NTSYSAPI ULONG RtlRandomEx(PULONG Seed);
NTSYSAPI ULONG RtlUniform(PULONG Seed);
NTSYSAPI ULONG RtlComputeCrc32(ULONG PartialCrc, const VOID *Buffer, ULONG Length);
NTSYSAPI ULONGLONG RtlCrc64(const VOID *Buffer, SIZE_T Size, ULONGLONG InitialCrc);
NTSYSAPI ULONG RtlCrc32(const VOID *Buffer, SIZE_T Size, ULONG InitialCrc);
NTSYSAPI ULONG RtlNumberOfSetBitsUlongPtr(ULONG_PTR Target);

/* 64-bit arithmetic, for source older than the type. Page: RtlLargeIntegerDivide and its kin */
FORCEINLINE LARGE_INTEGER RtlConvertLongToLargeInteger(LONG SignedInteger)
{
    LARGE_INTEGER r;
    r.QuadPart = SignedInteger;
    return r;
}
FORCEINLINE LARGE_INTEGER RtlConvertUlongToLargeInteger(ULONG UnsignedInteger)
{
    LARGE_INTEGER r;
    r.QuadPart = UnsignedInteger;
    return r;
}
FORCEINLINE LARGE_INTEGER RtlLargeIntegerAdd(LARGE_INTEGER Addend1, LARGE_INTEGER Addend2)
{
    Addend1.QuadPart = (LONGLONG)((ULONGLONG)Addend1.QuadPart + (ULONGLONG)Addend2.QuadPart);
    return Addend1;
}
FORCEINLINE LARGE_INTEGER RtlLargeIntegerSubtract(LARGE_INTEGER Number1, LARGE_INTEGER Number2)
{
    Number1.QuadPart = (LONGLONG)((ULONGLONG)Number1.QuadPart - (ULONGLONG)Number2.QuadPart);
    return Number1;
}
FORCEINLINE LARGE_INTEGER RtlExtendedIntegerMultiply(LARGE_INTEGER Multiplicand, LONG Multiplier)
{
    Multiplicand.QuadPart = (LONGLONG)((ULONGLONG)Multiplicand.QuadPart * (ULONGLONG)(LONGLONG)Multiplier);
    return Multiplicand;
}
FORCEINLINE LARGE_INTEGER RtlEnlargedIntegerMultiply(LONG Multiplicand, LONG Multiplier)
{
    LARGE_INTEGER r;
    r.QuadPart = (LONGLONG)Multiplicand * Multiplier;
    return r;
}
#define RtlLargeIntegerGreaterThan(X, Y)          ((X).QuadPart > (Y).QuadPart)
#define RtlLargeIntegerGreaterThanOrEqualTo(X, Y) ((X).QuadPart >= (Y).QuadPart)
#define RtlLargeIntegerEqualTo(X, Y)              ((X).QuadPart == (Y).QuadPart)
#define RtlLargeIntegerLessThan(X, Y)             ((X).QuadPart < (Y).QuadPart)
#define RtlLargeIntegerEqualToZero(X)             ((X).QuadPart == 0)

/* ======================================================== time
 * ======================================================= System time: 100 ns units since 1 January 1601. Any
 * IRQL. Fields with values that make no date give FALSE. Pages: RtlTimeToTimeFields, RtlTimeFieldsToTime,
 * RtlTimeToSecondsSince1970, RtlTimeToSecondsSince1980 */
typedef struct _TIME_FIELDS {
    CSHORT Year;         /* 1601... */
    CSHORT Month;        /* 1..12 */
    CSHORT Day;          /* 1..31 */
    CSHORT Hour;         /* 0..23 */
    CSHORT Minute;       /* 0..59 */
    CSHORT Second;       /* 0..59 */
    CSHORT Milliseconds; /* 0..999 */
    CSHORT Weekday;      /* 0 Sunday .. 6 Saturday */
} TIME_FIELDS, *PTIME_FIELDS;
NTSYSAPI VOID RtlTimeToTimeFields(PLARGE_INTEGER Time, PTIME_FIELDS TimeFields);
NTSYSAPI BOOLEAN RtlTimeFieldsToTime(PTIME_FIELDS TimeFields, PLARGE_INTEGER Time);
NTSYSAPI BOOLEAN RtlTimeToSecondsSince1970(PLARGE_INTEGER Time, PULONG ElapsedSeconds);
NTSYSAPI VOID RtlSecondsSince1970ToTime(ULONG ElapsedSeconds, PLARGE_INTEGER Time);
NTSYSAPI BOOLEAN RtlTimeToSecondsSince1980(PLARGE_INTEGER Time, PULONG ElapsedSeconds);
NTSYSAPI VOID RtlSecondsSince1980ToTime(ULONG ElapsedSeconds, PLARGE_INTEGER Time);

/* =================================================== status and version
 * ================================================== */
/* The Win32 error of a status; ERROR_MR_MID_NOT_FOUND (317) if it has none. Any IRQL. Page:
 * RtlNtStatusToDosError */
NTSYSAPI ULONG RtlNtStatusToDosError(NTSTATUS Status);
NTSYSAPI ULONG RtlNtStatusToDosErrorNoTeb(NTSTATUS Status);

typedef struct _OSVERSIONINFOW {
    ULONG dwOSVersionInfoSize;
    ULONG dwMajorVersion;
    ULONG dwMinorVersion;
    ULONG dwBuildNumber;
    ULONG dwPlatformId;
    WCHAR szCSDVersion[128];
} OSVERSIONINFOW, *POSVERSIONINFOW, *LPOSVERSIONINFOW, RTL_OSVERSIONINFOW, *PRTL_OSVERSIONINFOW;
typedef struct _OSVERSIONINFOEXW {
    ULONG dwOSVersionInfoSize;
    ULONG dwMajorVersion;
    ULONG dwMinorVersion;
    ULONG dwBuildNumber;
    ULONG dwPlatformId;
    WCHAR szCSDVersion[128];
    USHORT wServicePackMajor;
    USHORT wServicePackMinor;
    USHORT wSuiteMask;
    UCHAR wProductType;
    UCHAR wReserved;
} OSVERSIONINFOEXW, *POSVERSIONINFOEXW, *LPOSVERSIONINFOEXW, RTL_OSVERSIONINFOEXW, *PRTL_OSVERSIONINFOEXW;
C_ASSERT(sizeof(RTL_OSVERSIONINFOW) == 0x114 && sizeof(RTL_OSVERSIONINFOEXW) == 0x11C);
#define VER_EQUAL                       1
#define VER_GREATER                     2
#define VER_GREATER_EQUAL               3
#define VER_LESS                        4
#define VER_LESS_EQUAL                  5
#define VER_AND                         6
#define VER_OR                          7
#define VER_CONDITION_MASK              7
#define VER_NUM_BITS_PER_CONDITION_MASK 3
#define VER_MINORVERSION                0x0000001
#define VER_MAJORVERSION                0x0000002
#define VER_BUILDNUMBER                 0x0000004
#define VER_PLATFORMID                  0x0000008
#define VER_SERVICEPACKMINOR            0x0000010
#define VER_SERVICEPACKMAJOR            0x0000020
#define VER_SUITENAME                   0x0000040
#define VER_PRODUCT_TYPE                0x0000080
#define VER_NT_WORKSTATION              1
#define VER_NT_DOMAIN_CONTROLLER        2
#define VER_NT_SERVER                   3
#define VER_PLATFORM_WIN32_NT           2
/* ntmm is a Windows 10 workstation, version 10.0 build 19045. Fills the OSVERSIONINFOW or, by
 * dwOSVersionInfoSize, OSVERSIONINFOEXW form. PASSIVE_LEVEL. Page: RtlGetVersion */
NTSYSAPI NTSTATUS RtlGetVersion(PRTL_OSVERSIONINFOW lpVersionInformation);
/* STATUS_SUCCESS, STATUS_REVISION_MISMATCH, STATUS_INVALID_PARAMETER. Pages: RtlVerifyVersionInfo,
 * VerSetConditionMask, RtlIsNtDdiVersionAvailable */
NTSYSAPI NTSTATUS RtlVerifyVersionInfo(PRTL_OSVERSIONINFOEXW VersionInfo, ULONG TypeMask, ULONGLONG ConditionMask);
NTSYSAPI ULONGLONG VerSetConditionMask(ULONGLONG ConditionMask, ULONG TypeMask, UCHAR Condition);
NTSYSAPI BOOLEAN RtlIsNtDdiVersionAvailable(ULONG Version);
NTSYSAPI BOOLEAN RtlIsServicePackVersionInstalled(ULONG Version);
#define VER_SET_CONDITION(_m_, _t_, _c_) ((_m_) = VerSetConditionMask((_m_), (_t_), (_c_)))

#ifdef __cplusplus
}
constexpr PWCH NtmmStringBuffer(const WCHAR *Text)
{
    return const_cast<PWCH>(Text);
}
constexpr PCHAR NtmmStringBuffer(const CHAR *Text)
{
    return const_cast<PCHAR>(Text);
}
#endif

#include "crt.h"
#include "rtltable.h"
#endif
