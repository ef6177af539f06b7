/*
 * inline.h - border.c: routines that the kernel exports and the headers spell as macros: other names of an
 * entry (A), and hand-written entries whose native form is a host routine (N). Sorted.
 * SPDX-License-Identifier: MIT
 */
A(ExInitializeSListHead, InitializeSListHead)
A(ExInterlockedFlushSList, ExpInterlockedFlushSList)
A(ExInterlockedPopEntrySList, ExpInterlockedPopEntrySList)
A(ExInterlockedPushEntrySList, ExpInterlockedPushEntrySList)
A(IoCallDriver, IofCallDriver)
A(IoCompleteRequest, IofCompleteRequest)
A(KeWaitForMutexObject, KeWaitForSingleObject)
A(ObDereferenceObject, ObfDereferenceObject)
A(ObReferenceObject, ObfReferenceObject)
A(RtlAnsiStringToUnicodeSize, RtlxAnsiStringToUnicodeSize)
A(RtlCopyMemory, memcpy)
N(RtlFillMemory, LdrpFillMemory)
A(RtlMoveMemory, memmove)
A(RtlOemStringToUnicodeSize, RtlxOemStringToUnicodeSize)
A(RtlUnicodeStringToAnsiSize, RtlxUnicodeStringToAnsiSize)
A(RtlUnicodeStringToOemSize, RtlxUnicodeStringToOemSize)
N(RtlZeroMemory, LdrpZeroMemory)
