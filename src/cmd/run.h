/*
 * run.h - what `ntmm run` was asked to do, from runargs.c to run.c. SPDX-License-Identifier: MIT
 */
#pragma once
#include "cmd.h"
#include "host/campaign.h"

#define MAX_STEPS        1024
#define MAX_WITH         8
#define MAX_SECTION_NAME 200
#define MAX_OUTPUT       (64u << 20)
#define TIMEOUT_MS       10000
#define STOP_BYTES       (256u << 10)

typedef enum STEP_KIND { StepControl, StepRead, StepWrite } STEP_KIND;
typedef struct STEP {
    STEP_KIND Kind;
    uint32_t Code, Out;
    uint32_t Repeat;
    int64_t Offset;
    unsigned char *In;
    uint32_t InBytes;
} STEP;

/* What the child is at, for the parent's progress line. */
typedef struct PROGRESS {
    char Stage[96];
    volatile int Shown; /* the parent has a line on the terminal */
    /* A stop on another thread than the session's, which ends the child; Code 0: there was none. */
    uint32_t StopCode;
    char StopName[64], StopJson[STOP_BYTES];
} PROGRESS;

typedef struct RUN {
    const char *Path, *Device, *Pnp, *With[MAX_WITH];
    unsigned WithCount;
    const char *Sections[MAX_WITH]; /* NAME=SIZE, checked */
    unsigned SectionCount;
    const char *Services[MAX_WITH]; /* NAME=IMAGEPATH, checked */
    unsigned ServiceCount;
    STEP Steps[MAX_STEPS];
    unsigned StepCount;
    uint32_t Timeout;
    bool Abandoned; /* a request that the driver keeps */
    bool Json, NoFork;
    bool FailEach, Simulating; /* some requests are refused: what the driver refuses in turn is no finding */
    const char *FailAt;
    CMD_FAILURES Failures;
    ntmm_options Options;
    PROGRESS *Progress;
    /* the session */
    LDR_IMAGE *Image, *WithImages[MAX_WITH];
    unsigned Findings;
    char Doing[96]; /* the line of the report that is not written yet: what the driver is in */
    bool Unloaded;
    json_t *Root, *Requests;
} RUN;

/* runargs.c: fills Run. RUN_GO_ON, or the exit code: help was printed, or a complaint was. */
#define RUN_GO_ON (-1)
int RunTakeArguments(RUN *Run, int Argc, char **Argv);
