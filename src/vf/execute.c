/*
 * execute.c - code integrity (option 0x02000000): nothing of a verified driver is writable and executable at once.
 * SPDX-License-Identifier: MIT
 *
 *   executable pool                         0xC4/0x2000  code address, pool type, tag                        (init.c)
 *   an executable page protection           0xC4/0x2001  code address, protection, 0
 *   an MDL mapped without MdlMappingNoExecute 0xC4/0x2002  code address, priority and mapping flags, 0
 *   a section writable and executable       0xC4/0x2003  image name, section header, section name
 *   a section that is not page aligned      0xC4/0x2004  (the loader refuses such an image)
 *   an import table in executable code      0xC4/0x2005  image name, directory entry, section name
 *
 * mm asks through MiVerifyExecuteRoutine, which is NULL unless the option is on; the loader calls VfCheckImage for an image it has
 * accepted, before anything of it runs. Names, headers and directories in the parameters are those of the image's kept view.
 */
#include "vf/vfp.h"
#include "mm/mm.h"

static VOID ViCheckExecute(ULONG Type, ULONG_PTR ReturnAddress, ULONG_PTR Value)
{
    ULONG_PTR Caller = ViCallerOf(ReturnAddress);
    if (!ViDriverOf(Caller)->Verified)
        return;
    KiStop(0xC4,
           Type == 0x2002 ? "An MDL was mapped executable: MdlMappingNoExecute is missing in the priority."
                          : "An executable page protection was asked for.",
           NULL, Type, Caller, Value, 0);
}

VOID ViSetCodeIntegrity(BOOLEAN On)
{
    __atomic_store_n(&MiVerifyExecuteRoutine, On ? ViCheckExecute : NULL, __ATOMIC_RELEASE);
}

VOID VfCheckImage(const VF_IMAGE_FACTS *Image)
{
    if (!(KiVerifierFlags() & VF_CODE_INTEGRITY) || !ViNameIsChosen(Image->Name))
        return;
    if (Image->WritableCode != NULL)
        KiStop(0xC4, "An image has a section that is both writable and executable.", NULL, 0x2003, (ULONG_PTR)Image->Name,
               (ULONG_PTR)Image->WritableCode, (ULONG_PTR)Image->WritableCodeName);
    if (Image->ImportDirectory != NULL)
        KiStop(0xC4, "An image has its import address table in an executable section.", NULL, 0x2005, (ULONG_PTR)Image->Name,
               (ULONG_PTR)Image->ImportDirectory, (ULONG_PTR)Image->ImportSectionName);
}
