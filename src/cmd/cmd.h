/*
 * cmd.h - what the files of the ntmm command share. SPDX-License-Identifier: MIT
 *
 * Exit codes: CMD_CLEAN, CMD_FINDING (bug check, leak, failed DriverEntry, missing import), CMD_USAGE (wrong arguments, or
 * a file that cannot be loaded). Complaints are one sentence on stderr, beginning "ntmm:".
 */
#pragma once
#include <jansson.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "host/host.h"
#include "ldr/ldr.h"

#define CMD_CLEAN   0
#define CMD_FINDING 1
#define CMD_USAGE   2

/* Prints "ntmm: <sentence>" and returns CMD_USAGE. */
/* The exit code: Code, or 2 and a sentence if the output could not be written (disk full, closed). */
int CmdFinishOutput(int Code);
int CmdComplain(const char *Format, ...) __attribute__((format(printf, 1, 2)));
/* A number, decimal or 0x-hexadecimal, nothing behind it. */
bool CmdNumber(const char *Text, uint64_t *Value);
/* Takes "--name VALUE" or "--name=VALUE" at Argv[*Index]; advances *Index. 1 taken, 0 another option, -1 no value
 * (complained). */
int CmdTakeValue(int Argc, char **Argv, int *Index, const char *Name, const char **Value);
/* Takes a system option ("--ram=64M"); 1 taken, 0 not one, -1 bad value (complained). */
int CmdTakeSystemOption(int Argc, char **Argv, int *Index, ntmm_options *Options);
/* The options of a system as a help text. */
void CmdPrintSystemOptions(FILE *Out);
/* "unknown option" with the ones that exist. */
int CmdUnknown(const char *Command, const char *Option);
/* Starts from NTMM_OPTIONS (false: complained). */
bool CmdDefaultOptions(ntmm_options *Options);

/* "1.5 MiB", "100 bytes" */
const char *CmdBytes(uint64_t Bytes, char Text[32]);
/* 1,234,567 */
const char *CmdCount(uint64_t Count, char Text[32]);
/* Four characters, dots for what does not print. */
const char *CmdTag(uint32_t Tag, char Text[5]);
/* Prints the object and frees it. */
void CmdPrintJson(json_t *Root);
json_t *CmdHex(uint64_t Value);

/* ---- failures.c: ntmm run --fail-each ---- */
typedef struct CMD_FAILURES {
    unsigned Shard, Shards, Jobs, Limit; /* 0: not given */
    const char *State;
    const char *Given; /* the last option taken, NULL: none */
} CMD_FAILURES;
/* Takes --shard, --jobs, --state, --limit; 1 taken, 0 another option, -1 complained. */
int CmdTakeFailures(int Argc, char **Argv, int *Index, CMD_FAILURES *Failures);
/* The campaign and its report. Argv tells one campaign from another in the state file. The exit code. */
int CmdFailEach(ntmm_fail_outcome (*Run)(void *), void *Context, const CMD_FAILURES *Failures, const ntmm_options *System,
                int Argc, char **Argv, const char *Path, bool Json);

/* Page files and the store: printed, or (Json) put into Root; nothing is printed if there is none. */
void CmdReportPageFiles(bool Json, json_t *Root);

/* The Verifier's counters, for `ntmm run` (verifier.c; the pools were as in Before): into Root, and printed unless Json, if an
 * option is on. */
struct _EXP_POOL_TOTALS;
void CmdReportVerifier(const struct _EXP_POOL_TOTALS *Before, bool Json, json_t *Root);

/* ---- memory.c ---- */
/* Commitment, paging and the series since the run began, for `ntmm run`: into Root, and printed unless Json. */
void CmdReportOverTime(bool Json, json_t *Root);
/* What !vm and !memusage show. */
void CmdShowMemory(bool Json, json_t *Root);
/* Makes memory short for a moment and shows it then. */
void CmdDemonstrate(bool Json, json_t *Root);

int CmdRun(int Argc, char **Argv);
int CmdImports(int Argc, char **Argv);
int CmdExplain(int Argc, char **Argv);
int CmdMap(int Argc, char **Argv);
/* "STATUS_SUCCESS (0x00000000)", or the number alone. */
const char *CmdStatus(NTSTATUS Status, char Text[64]);
/* "driver.sys!Function (file.c:34)" of a return address, as much of it as is known; several when functions are inlined,
 * the innermost first. Returns how many; 0: code of the library itself. */
#define CMD_WHERE_MAX 4
unsigned CmdWhere(uintptr_t Address, char Text[CMD_WHERE_MAX][512]);

/* ---- report.c: what a run did to memory ---- */
typedef struct CMD_BASELINE CMD_BASELINE;
/* Remembers the system's counters; what is allocated from here on by images' code is the drivers'. */
CMD_BASELINE *CmdTakeBaseline(void);
void CmdFreeBaseline(CMD_BASELINE *Baseline);
/* Looks at the pools and the fault counters now. Unloaded: whoever has unloaded its driver owes every block; Stopped: by a
 * bug check. Prints the text form unless Json, adds the same to Root, returns the number of findings (blocks not freed). */
unsigned CmdReportMemory(const CMD_BASELINE *Baseline, bool Unloaded, bool Stopped, bool Json, json_t *Root);
