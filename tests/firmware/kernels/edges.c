/* That a read behind either edge of memory is noticed. */
#include "board.h"

int main(void) {
  const volatile int8_t *edge = EDGE;
  say_line("inside", 1, edge[-1]);
  say_line("outside", 1, edge[0]);
  return 0;
}
