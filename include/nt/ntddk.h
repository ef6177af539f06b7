/*
 * ntddk.h - the kernel-mode driver header: wdm.h and what the WDK adds for drivers that are not WDM-only.
 *
 * The component headers under wdm/ declare both sets, so that a routine stands in one place; what differs
 * between the two headers in the WDK is only which of them shows it. SPDX-License-Identifier: MIT
 */
#ifndef _NTDDK_
#define _NTDDK_
#include "wdm.h"
#endif
