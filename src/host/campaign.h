/*
 * campaign.h - what the two halves of a campaign of failures share: failpoint.c inside the run, campaign.c around it.
 * SPDX-License-Identifier: MIT
 */
#pragma once
#include "host.h"

#define HOST_FAIL_RECORDS 8192 /* distinct allocation stacks that one run can tell apart; a power of two */
#define HOST_FAIL_FRAMES  24
#define HOST_FAIL_DEPTH   8 /* failures in one run */
#define HOST_FAIL_WHERE   400

/* An allocation stack, as first seen. */
typedef struct _HOST_FAIL_RECORD {
    ULONG64 Key;
    ULONG Resource, Tag;
    ULONG64 Bytes;
    ULONG After; /* how many failures of the run's path came before it was first seen */
    ULONG FrameCount;
    BOOLEAN Image; /* code of a driver image is on it */
    BOOLEAN Named; /* Where is filled in; empty: no code but the library's own */
    ULONG_PTR Frames[HOST_FAIL_FRAMES];
    CHAR Where[HOST_FAIL_WHERE];
} HOST_FAIL_RECORD;

/* Lies in memory that the run's process shares with its parent. */
typedef struct _HOST_FAIL_TABLE {
    /* set by the parent */
    ULONG64 Path[HOST_FAIL_DEPTH]; /* stacks to fail, in order, each at its first occurrence after the one before */
    ULONG Depth;
    BOOLEAN ImagesOnly; /* stacks without code of a driver image are nobody's */
    /* set by the run */
    volatile ULONG Lock;
    ULONG Failed; /* of Path */
    ULONG Count, Lost;
    ULONG Findings;                      /* that the run's function counted: leaks and what was left behind */
    USHORT Index[HOST_FAIL_RECORDS * 2]; /* hash: record number + 1 */
    CHAR Detail[512];                    /* what the run says of its outcome */
    HOST_FAIL_RECORD Records[HOST_FAIL_RECORDS];
} HOST_FAIL_TABLE;

/* failpoint.c. From HostFailArm to HostFailDisarm each allocation of the calling process is looked at, once the system runs. */
VOID HostFailArm(HOST_FAIL_TABLE *Table);
VOID HostFailDisarm(VOID);
HOST_FAIL_TABLE *HostFailArmed(VOID); /* or NULL */
/* Calls run(context), whose caller is where stacks are cut that no image's code is on. */
ntmm_fail_outcome HostFailEnter(ntmm_fail_outcome (*Run)(void *), void *Context);
/* Gives the records names, while the images are still loaded. On an ordinary stack. */
VOID HostFailNameRecords(HOST_FAIL_TABLE *Table);
VOID HostFailNameRecord(HOST_FAIL_RECORD *Record);
/* Blocks of the pools that are live, were allocated by code that is not the library's, and were not there when they were last
 * remembered; Where tells who allocated the first. */
VOID HostFailRememberBlocks(VOID);
ULONG HostFailCountLeaks(CHAR *Where, SIZE_T Size);
const char *HostFailResourceName(ULONG Resource);
const char *HostFailOutcomeName(ntmm_fail_outcome Outcome); /* campaign.c: as in the reports and the state file */
/* campaign.c: the run's function tells how much was left behind, and what. */
VOID HostFailSay(ULONG Findings, const char *Format, ...) __attribute__((format(printf, 2, 3)));
/* "1f2e-9a..." to a path and back. FALSE: not a key. */
BOOLEAN HostFailParseKey(const char *Text, ULONG64 *Path, ULONG *Depth);
VOID HostFailFormatKey(const ULONG64 *Path, ULONG Depth, char *Text, SIZE_T Size);
