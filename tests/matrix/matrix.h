/*
 * matrix.h - what the files of the detection matrix share: the kit that cases are written with, and the tables of cases.
 * SPDX-License-Identifier: MIT
 *
 *   SIN(Name)    a small program that commits the sin, after saying (Expect) what it must stop with
 *   RIGHT(Name)  one that comes close and is right
 *   CASES(File) {row of rows.tsv, options, Sin, Right, argument} ... END_CASES(File)
 *
 * Each runs in a process of its own with a system of its own (64 MiB, two processors), so nothing has to be cleaned up.
 */
#pragma once
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <ntifs.h>
#include <ntmm.h>
#include "mm/mm.h"

#define TAG  'xtaM'
#define ANY  0xA19A19A19A19A19Aull
#define P(x) ((uint64_t)(ULONG_PTR)(x))

typedef struct CASE {
    const char *Row, *Options;
    void (*Sin)(void), (*Right)(void);
    unsigned long Argument; /* of the sin */
} CASE;
#define CASES(File) const CASE File##Cases[] = {
#define END_CASES(File)                                                                                                        \
    }                                                                                                                          \
    ;                                                                                                                          \
    const size_t File##CaseCount = sizeof File##Cases / sizeof *File##Cases;
#define SIN(Name) static void Sin_##Name(void)
#define RIGHT(Name)                                                                                                            \
    void Right_##Name(void);                                                                                                   \
    void Right_##Name(void)
#define STANDARD "verifier=standard"

/* What the sin that follows must stop with; ANY: not determined. */
void Expect(uint32_t Code, uint64_t P1, uint64_t P2, uint64_t P3, uint64_t P4);
extern unsigned long Argument; /* the case's */

extern volatile UCHAR Sink;
static inline PUCHAR NonPaged(SIZE_T Size)
{
    return ExAllocatePool2(POOL_FLAG_NON_PAGED | POOL_FLAG_UNINITIALIZED, Size, TAG);
}
static inline PUCHAR Paged(SIZE_T Size)
{
    return ExAllocatePool2(POOL_FLAG_PAGED | POOL_FLAG_UNINITIALIZED, Size, TAG);
}
static inline KIRQL Raise(KIRQL To)
{
    KIRQL Old;
    KeRaiseIrql(To, &Old);
    return Old;
}
static inline PUCHAR FarIn(MM_REGION Region) /* an address of a region that nobody has allocated */
{
    MM_REGION_INFO Info;
    MmQueryRegion(Region, &Info);
    return (PUCHAR)(Info.End - 0x10000);
}
static inline uint64_t PageOf(MM_REGION Region, const void *Address)
{
    MM_REGION_INFO Info;
    MmQueryRegion(Region, &Info);
    return (P(Address) - Info.Base) >> PAGE_SHIFT;
}
static inline PHYSICAL_ADDRESS At(uint64_t Physical)
{
    PHYSICAL_ADDRESS Address = {.QuadPart = (LONGLONG)Physical};
    return Address;
}
static inline PMDL LockedMdl(SIZE_T Bytes)
{
    PMDL Mdl = IoAllocateMdl(Paged(Bytes), (ULONG)Bytes, FALSE, FALSE, NULL);
    MmProbeAndLockPages(Mdl, KernelMode, IoReadAccess);
    return Mdl;
}
