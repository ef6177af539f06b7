/*
 * guids.c - the GUIDs of wdmguid.h, for drivers that only declare them. SPDX-License-Identifier: MIT
 */
#include <initguid.h>
#include <wdmguid.h>
