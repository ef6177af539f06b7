/*
 * report.c - the block that a bug check prints. SPDX-License-Identifier: MIT
 */
#include "host.h"

#include <stdio.h>
#include <string.h>

const char *ntmm_bugcheck_name(uint32_t code)
{
    return KiBugCheckName(code);
}

VOID HostDescribeStop(const KI_BUGCHECK *Stop, ntmm_bugcheck *Out)
{
    const CHAR *Name = KiBugCheckName(Stop->Code);
    memset(Out, 0, sizeof *Out);
    Out->code = Stop->Code;
    for (int I = 0; I < 4; I++) Out->parameters[I] = Stop->Parameters[I];
    snprintf(Out->name, sizeof Out->name, "%s", Name ? Name : "UNKNOWN_BUG_CHECK");
    snprintf(Out->words, sizeof Out->words, "%s", Stop->Words ? Stop->Words : "");
    Out->irql = Stop->Irql;
    Out->processor = Stop->Processor;
    Out->thread = Stop->Thread ? (uint32_t)Stop->Thread->Id : 0;
    Out->block = Stop->Block;
    Out->frame_count = Stop->FrameCount < ARRAYSIZE(Out->frames) ? Stop->FrameCount : ARRAYSIZE(Out->frames);
    for (unsigned I = 0; I < Out->frame_count; I++) Out->frames[I] = Stop->Frames[I];
    Out->address = Out->frame_count ? Out->frames[0] : 0;
}

size_t ntmm_report(const ntmm_bugcheck *stop, bool json, char *text, size_t size)
{
    (void)json;
    return (size_t)snprintf(text, size, "*** STOP: 0x%08X (0x%016llX,0x%016llX,0x%016llX,0x%016llX)\n%s\n%s\n", stop->code,
                            (unsigned long long)stop->parameters[0], (unsigned long long)stop->parameters[1],
                            (unsigned long long)stop->parameters[2], (unsigned long long)stop->parameters[3], stop->name, stop->words);
}

VOID HostReport(const KI_BUGCHECK *Stop)
{
    static ntmm_bugcheck Data;
    static char Text[4096];
    HostDescribeStop(Stop, &Data);
    ntmm_report(&Data, false, Text, sizeof Text);
    HalPrint(Text, strlen(Text));
}
