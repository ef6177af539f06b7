/*
 * validate.c - every validator of the memory manager, in one call. SPDX-License-Identifier: MIT
 *
 * For a moment when no other thread is inside the memory manager (a test's barrier, a debugger's stop): each
 * structure is checked under its own lock, the sums across structures only hold at rest. The text of the
 * first broken invariant begins with its number, which the owning file's opening explains.
 */
#include "mm/mi.h"

#if NTMM_DEEP
/* A broken invariant of ours, found by the deep preset: nothing can be trusted any more. */
VOID MiAssertDeep(const CHAR *Broken)
{
    if (Broken) {
        KiStop(MEMORY_MANAGEMENT, Broken, NULL, 0x8888, 0, 0, 0);
    }
}
#endif

const CHAR *MiValidateAll(VOID)
{
    const CHAR *Broken = MiValidateFrames();
    if (!Broken) {
        Broken = MiValidateRegions();
    }
    if (!Broken) {
        Broken = MiValidatePageTables();
    }
    if (!Broken) {
        Broken = MiValidateMappings();
    }
    if (!Broken) {
        Broken = MiValidateSpaces();
    }
    if (!Broken) {
        Broken = MiValidateCommitment();
    }
    if (!Broken) {
        Broken = MiValidatePageFiles();
    }
    if (!Broken) {
        Broken = MiValidateImages();
    }
    return Broken ? Broken : MiValidateConditions();
}
