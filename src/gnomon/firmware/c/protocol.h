/* The serial protocol of MLPerf Tiny and EEMBC's runner: commands end with '%', replies are lines, the last of each
 * command is `m-ready`. Mode and names are fixed when this is compiled:
 *   GNOMON_ENERGY     1: timestamps are pulses on a pin, at 9600 baud; 0: they are lines of text
 *   GNOMON_VENDOR     what `name` answers
 *   GNOMON_BAUD       another speed than the mode's own */
#ifndef GNOMON_PROTOCOL_H
#define GNOMON_PROTOCOL_H

#include "model.h"

/* Print the boot lines and be ready for commands. */
void gnomon_start(const gnomon_model *model);

/* Take a character from the host; a '%' carries the command out. */
void gnomon_receive(char c);

/* Both, for ever. */
void gnomon_serve(const gnomon_model *model);

#endif
