/*
 * ntifs.h - the file-system driver header: ntddk.h and what the WDK adds for file systems and filters.
 * SPDX-License-Identifier: MIT
 */
#ifndef _NTIFS_
#define _NTIFS_
#define _NTIFS_INCLUDED_ 1
#include "ntddk.h"
#include "wdm/ecp.h"
#endif
