/*
 * verifier.c - the host-side API of the Verifier. SPDX-License-Identifier: MIT
 */
#include "vf/vf.h"
#include "host/host.h"

int ntmm_set_verifier(uint32_t mask)
{
    if (!ntmm_running())
        return HostFail("the system does not run");
    if (!NT_SUCCESS(VfSetFlags(mask)))
        return HostFail("verifier=0x%x: of 0x%x only the options in 0x%x can be turned on and off while the system runs", mask,
                        mask ^ KiVerifierFlags(), VF_VOLATILE);
    return 0;
}
