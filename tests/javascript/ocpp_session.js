// A session of OCPP 1.6, as a script of the public simulator em-ocpp-chargepoint-simulator. The address is in the environment.
let charger;
try {
  charger = await connect(process.env.CHARGER_URL);
  const now = () => new Date().toISOString();
  const status = (name) => charger.sendStatusNotification({ connectorId: 1, errorCode: "NoError", status: name });
  await charger.sendBootnotification({ chargePointVendor: "public", chargePointModel: "simulator" });
  await charger.sendHeartbeat();
  await status("Available");
  const authorized = await charger.sendAuthorize({ idTag: process.env.CHARGER_TOKEN });
  await status("Preparing");
  const start = { connectorId: 1, idTag: process.env.CHARGER_TOKEN, meterStart: 1377, timestamp: now() };
  const started = await charger.startTransaction(start);
  console.log("RESULT " + JSON.stringify({ authorized, started }));
  if (started.idTagInfo.status === "Accepted") {
    const transactionId = started.transactionId;
    await status("Charging");
    await charger.sleep(1000);
    const values = [{ timestamp: now(), sampledValue: [{ value: "1387" }] }];
    await charger.meterValues({ connectorId: 1, transactionId, meterValue: values });
    await charger.sleep(1000);
    await charger.stopTransaction({ transactionId, meterStop: 1399, timestamp: now() });
    await status("Finishing");
  }
  await status("Available");
} catch (error) {
  console.log("FAILED " + error);
} finally {
  charger.close();
}
