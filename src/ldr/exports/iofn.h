/*
 * iofn.h - border.c: iofn.
 * From include/nt/wdm/iofn.h, one line a routine, sorted. SPDX-License-Identifier: MIT
 */
F(PKEVENT, IoCreateNotificationEvent, PUNICODE_STRING, PHANDLE)
F(PKEVENT, IoCreateSynchronizationEvent, PUNICODE_STRING, PHANDLE)
