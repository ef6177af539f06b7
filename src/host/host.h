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
/* The page file's descriptor, or -1. */
int HostPageFile(VOID);

/* landing.c */
ULONG_PTR HostLandingPad(ULONG_PTR Rip); /* KiLandingPadRoutine */

VOID HostAbandonStack(ULONG_PTR Stack); /* KiAbandonStackRoutine */

/* report.c */
VOID HostReport(const KI_BUGCHECK *Stop); /* KiReportRoutine */
/* Fills the data form: name, words, blame and stack; looks nothing up by symbol but driver and where. */
VOID HostDescribeStop(const KI_BUGCHECK *Stop, ntmm_bugcheck *Out);
