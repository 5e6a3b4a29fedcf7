// Calls the front with WooCommerce's JavaScript client, unmodified, and prints what came of it as JSON.
import module from "@woocommerce/woocommerce-rest-api";

const WooCommerceRestApi = module.default ?? module;
const { site, key, secret, order, line, rate } = JSON.parse(process.argv[2]);
const woo = new WooCommerceRestApi({ url: site, consumerKey: key, consumerSecret: secret, version: "wc/v3" });
const path = `orders/${order}/refunds`;
const said = [];

async function note(promise) {
  try {
    const { status, data, headers } = await promise;
    said.push({ status, data, total: headers["x-wp-total"] });
    return data;
  } catch (error) {
    said.push({ status: error.response?.status, data: error.response?.data, message: error.message });
    return undefined;
  }
}

const made = await note(
  woo.post(path, {
    reason: "too small",
    line_items: [{ id: line, quantity: 1, refund_total: 9, refund_tax: [{ id: rate, refund_total: 1.71 }] }],
  }),
);
await note(woo.get(`${path}/${made?.id}`, { dp: 4 }));
await note(woo.get(path, { per_page: 1, include: [made?.id, 1] }));
await note(woo.post(path, { amount: "1,50" }));
await note(woo.delete(`${path}/${made?.id}`, { force: true }));
await note(woo.get(`${path}/${made?.id}`));
console.log(JSON.stringify(said));
