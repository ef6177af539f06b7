/*
 * verifier.c - the host-side API of the Verifier. SPDX-License-Identifier: MIT
 */
#include "vf/vf.h"
#include "host/host.h"

int HostCheckVerifier(uint32_t Mask)
{
    uint32_t Missing = Mask & ~VF_OPTIONS_KNOWN;
    if (Missing == 0)
        return 0;
    if (Missing == 0x40000)
        return HostFail("verifier=0x%x: systematic low resources (0x40000) is `ntmm run --fail-each` here (docs/VERIFIER.md)",
                        Mask);
    return HostFail("verifier=0x%x: of these 0x%x are not here (docs/VERIFIER.md); all that are make 0x%x", Mask, Missing,
                    VF_OPTIONS_KNOWN);
}

int ntmm_set_verifier(uint32_t mask)
{
    if (!ntmm_running())
        return HostFail("the system does not run");
    if (HostCheckVerifier(mask) < 0)
        return -1;
    if (!NT_SUCCESS(VfSetFlags(mask)))
        return HostFail("verifier=0x%x: of 0x%x only the options in 0x%x can be turned on and off while the system runs", mask,
                        mask ^ KiVerifierFlags(), VF_VOLATILE);
    return 0;
}
