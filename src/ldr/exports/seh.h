/*
 * seh.h - border.c: exceptions.
 * From include/nt/wdm/seh.h, one line a routine, sorted. SPDX-License-Identifier: MIT
 */
F0(VOID, ExRaiseAccessViolation)
F0(VOID, ExRaiseDatatypeMisalignment)
F(VOID, ExRaiseStatus, NTSTATUS)
F(BOOLEAN, FsRtlIsNtstatusExpected, NTSTATUS)
F(BOOLEAN, KeDeregisterBugCheckCallback, PKBUGCHECK_CALLBACK_RECORD)
F(BOOLEAN, KeDeregisterBugCheckReasonCallback, PKBUGCHECK_REASON_CALLBACK_RECORD)
F(BOOLEAN, KeRegisterBugCheckCallback, PKBUGCHECK_CALLBACK_RECORD, PKBUGCHECK_CALLBACK_ROUTINE, PVOID, ULONG, PUCHAR)
F(BOOLEAN, KeRegisterBugCheckReasonCallback, PKBUGCHECK_REASON_CALLBACK_RECORD, PKBUGCHECK_REASON_CALLBACK_ROUTINE,
  KBUGCHECK_CALLBACK_REASON, PUCHAR)
F(VOID, ProbeForRead, const volatile VOID *, SIZE_T, ULONG)
F(VOID, ProbeForWrite, volatile VOID *, SIZE_T, ULONG)
F(VOID, RtlRaiseException, PEXCEPTION_RECORD)
F(VOID, RtlRaiseStatus, NTSTATUS)
