/* A library that does nothing. */
#include "main.h"

GPIO_TypeDef stub_gpio;
DWT_Type stub_dwt;
CoreDebug_Type stub_debug;
static TIM_TypeDef timer;
uint32_t SystemCoreClock = 80000000u;
UART_HandleTypeDef huart2;
TIM_HandleTypeDef htim2 = {&timer};

HAL_StatusTypeDef HAL_UART_Init(UART_HandleTypeDef *uart) { return uart->Init.BaudRate ? HAL_OK : HAL_ERROR; }

HAL_StatusTypeDef HAL_UART_Receive(UART_HandleTypeDef *uart, uint8_t *data, uint16_t size, uint32_t timeout_ms) {
  (void)uart, (void)data, (void)size, (void)timeout_ms;
  return HAL_OK;
}

HAL_StatusTypeDef HAL_UART_Transmit(UART_HandleTypeDef *uart, const uint8_t *data, uint16_t size,
                                    uint32_t timeout_ms) {
  (void)uart, (void)data, (void)size, (void)timeout_ms;
  return HAL_OK;
}

HAL_StatusTypeDef HAL_TIM_Base_Start(TIM_HandleTypeDef *started) {
  started->Instance->CNT = 0;
  return HAL_OK;
}

void HAL_GPIO_WritePin(GPIO_TypeDef *port, uint16_t pin, GPIO_PinState level) {
  port->ODR = level == GPIO_PIN_SET ? port->ODR | pin : port->ODR & ~(uint32_t)pin;
}
