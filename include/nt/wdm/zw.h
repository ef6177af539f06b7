/*
 * zw.h - the Zw system services that ntmm has.
 * SPDX-License-Identifier: MIT
 */
#ifndef _NTMM_ZW_
#define _NTMM_ZW_

#endif
